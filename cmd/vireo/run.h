/* SPDX-License-Identifier: MIT */
/*
 * What the parts of `vireo run` share: the options, the devices, the
 * hypervisors' methods. Order: options -> devices -> hypervisors -> run.
 */
#ifndef VIREO_RUN_H
#define VIREO_RUN_H

#include "kernel.h"
#include "proc.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
	RUN_DISKS_MAX = 16,
	RUN_DEVICES_MAX = RUN_DISKS_MAX + 3,
};

/* In the order in which they are tried. */
enum vmm_choice { VMM_AUTO, VMM_KVM, VMM_QEMU_KVM, VMM_UML, VMM_QEMU };

enum run_mode {
	MODE_SHELL,	/* a person at a terminal */
	MODE_SCRIPT,	/* a shell that reads our standard input */
	MODE_COMMAND,	/* the command after "--" */
	MODE_CHECK,	/* the self-check */
	MODE_FOREIGN,	/* the user's own initramfs decides */
};

enum console_choice {
	CONSOLE_STDIO,
	CONSOLE_SERIAL,	/* the hypervisor's own serial port, not our device */
	CONSOLE_PTY,
	CONSOLE_FILE,
	CONSOLE_SOCKET,
};

struct run_disk {
	const char *path;
	bool read_only;
};

struct run_options {
	struct run_disk disks[RUN_DISKS_MAX];
	unsigned int n_disks;
	const char *kernel;
	const char *initrd;
	const char *append;
	unsigned int mem_mib;
	unsigned int cpus;
	unsigned int limit_s;	/* 0: none */
	enum console_choice console;
	const char *console_path;
	const char *net;	/* vireo-net's --backend; NULL: no network */
	char *net_more;		/* options of vireo-net, with commas */
	const char *hostfwd;	/* its option of that name */
	bool host_loopback;
	const char *record;	/* its option of that name */
	enum vmm_choice vmm;
	const char *transport;	/* of our machine's devices; NULL: its choice */
	enum run_mode mode;
	bool keep;
	bool verbose;
	char **command;		/* what follows "--"; NULL: nothing did */
};

/*
 * Fill @o from the command line. Return 0: go on; else the exit code plus
 * one, after help or a complaint was printed.
 */
int run_options_parse(struct run_options *o, int argc, char **argv);

/* Device ids of the standard. */
enum device_kind {
	DEVICE_NET = 1,
	DEVICE_BLOCK = 2,
	DEVICE_CONSOLE = 3,
	DEVICE_ENTROPY = 4,
};

struct device {
	enum device_kind kind;
	const char *program;
	char name[32];		/* as in messages: "disk 0" */
	const struct run_disk *disk;
	unsigned int queues;
	char socket[108];
	char stats[PATH_MAX];
	struct proc proc;
};

struct run;

/* One way to start a guest. */
struct vmm {
	const char *name;	/* as in the report */
	enum guest_kind guest;
	bool has_console;	/* can be given our console device */
	bool has_devices;	/* in its process: device_is_inside() */
	const char *serial;	/* the guest's name for its serial port */
	const char *append;	/* for the kernel's command line */
	/* Can it work here, with a guest of that size? If not, say why. */
	bool (*usable)(unsigned int mem_mib, char *why, size_t size);
	/* Its whole command line, in @a. */
	void (*command)(const struct run *r, struct args *a);
};

extern const struct vmm vmm_kvm, vmm_qemu_kvm, vmm_uml, vmm_qemu;

/* Tried once; @why gets one clause. */
bool kvm_is_real(char *why, size_t size);

struct run {
	struct run_options opt;
	const struct vmm *vmm;
	struct guest_kernel kernel;
	char dir[PATH_MAX];	/* all that a run leaves to be removed */
	char initrd[PATH_MAX];
	char image[PATH_MAX];	/* the default disk; "" when not in use */
	char cmdline[4096];
	char token[20];		/* begins a line from the guest's init */
	struct run_disk default_disk;
	struct device dev[RUN_DEVICES_MAX];
	unsigned int n_devs;
	struct proc guest;
	struct janitor janitor;
	bool serial;		/* the user sits at the serial port */
	double boot_s;		/* start of the guest to its end */
};

/*
 * Is the device in the hypervisor's process: has it no back end? A network's
 * has, as long as it is for modern drivers: it has more options there.
 */
static inline bool device_is_inside(const struct run *r,
				    const struct device *d)
{
	const char *t = r->opt.transport;

	return r->vmm->has_devices &&
	       (d->kind != DEVICE_NET ||
		(t && strcmp(t, "pci") && strcmp(t, "mmio")));
}

#endif
