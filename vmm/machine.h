/* SPDX-License-Identifier: MIT */
/*
 * The whole machine: made from its parts, run until the guest switches it
 * off, taken apart. Does not know where its devices' bytes go, nor any
 * command line.
 *
 * Order: open, add devices, load, run, close. All on one thread, whose event
 * loop runs while the guest does.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "host/loop.h"
#include "vmm/boot.h"
#include "vmm/dev.h"
#include "vmm/layout.h"
#include "vmm/line.h"
#include "vmm/msi.h"
#include "vmm/pci_host.h"
#include "vmm/power.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"

enum machine_transport {
	MACHINE_PCI,		/* functions on a PCI bus, modern */
	MACHINE_PCI_TRANSITIONAL,	/* for drivers of any age */
	MACHINE_PCI_LEGACY,	/* for those before version 1.0 only */
	MACHINE_MMIO,		/* registers in memory, announced by ACPI */
	MACHINE_MMIO_LEGACY,	/* the same in version 1, the legacy one */
};

enum machine_end {
	MACHINE_OFF,		/* the guest switched it off */
	MACHINE_RESET,		/* the guest wants to start anew */
	MACHINE_STOPPED,	/* machine_stop() */
	MACHINE_FAILED,		/* a processor cannot go on; said already */
};

struct machine_conf {
	uint64_t mem;		/* bytes */
	unsigned cpus;
	enum machine_transport transport;
	struct boot_conf boot;
};

/* What stands in front of a device: one of these. */
struct slot {
	struct slot_mmio *mmio;
	struct slot_pci *pci;
};

struct machine {
	struct machine_conf conf;
	struct loop *loop;
	struct vm vm;
	struct ram ram;
	struct irq irq;
	struct msi msi;
	struct bus mmio, ports;
	struct serial serial;
	struct power power;
	struct pci_host pci;
	struct dev *dev[VMM_DEVICES_MAX];
	struct slot slot[VMM_DEVICES_MAX];
	unsigned nr_devs;
	struct vcpu_env env;
	struct vcpu vcpu[VMM_CPUS_MAX];
	unsigned nr_vcpus;
	bool loaded;
	struct line line;	/* the serial port's host end */
	atomic_int end;		/* enum machine_end; -1: not yet */
};

/* 0, or -errno after an error line. @loop is the caller's, not running. */
int machine_open(struct machine *m, const struct machine_conf *conf,
		 struct loop *loop);

/*
 * Where the serial port leads: to @chr (not the machine's; open), else what
 * it prints goes to descriptor @fd, which may block, else nowhere (-1).
 */
void machine_serial(struct machine *m, struct chardev *chr, int fd);

/* The device is the machine's from now on, whatever is returned. */
int machine_add(struct machine *m, struct dev *d);

/*
 * Load the guest, and make its processors: nothing has to be opened after
 * this, until machine_close(). 0, or -errno after an error line.
 */
int machine_load(struct machine *m);

/*
 * Load the guest if that was not done yet, start everything, run the loop
 * until it is over. Returns an enum machine_end, or -errno after an error line.
 */
int machine_run(struct machine *m);

/* Any thread, and signal handlers. */
void machine_stop(struct machine *m);

void machine_close(struct machine *m);

/*
 * What a running machine asks of KVM, for a sandbox: requests of ioctl(), a 0
 * at the end.
 */
extern const unsigned long machine_ioctls[];

#endif
