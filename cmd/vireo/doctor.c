/* SPDX-License-Identifier: MIT */
/*
 * vireo doctor: what this machine can and cannot do, each finding with its
 * verdict and, where something is amiss, the cure. Changes nothing. The
 * findings on the kernel's abilities come from doctor_kernel.c.
 */
#include "cmd.h"
#include "doctor.h"
#include "kernel.h"
#include "probe.h"
#include "util.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void finding(enum doctor_verdict verdict, const char *name, const char *cure,
	     const char *fmt, ...)
{
	static const char *const words[] = {
		[VERDICT_OK] = "ok", [VERDICT_NOTE] = "note",
		[VERDICT_BAD] = "bad",
	};
	va_list ap;

	printf("  %-5s %-14s ", words[verdict], name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (verdict != VERDICT_OK && cure)
		printf("        %-14s cure: %s\n", "", cure);
}

static bool check_kvm(void)
{
	static const char *const cures[] = {
		[KVM_ABSENT] = "none needed; User Mode Linux or software "
			"emulation is used instead",
		[KVM_DENIED] = "adduser $USER kvm, then log in again",
		[KVM_BROKEN] = "none from here: the host would have to offer "
			"nested virtualization",
		[KVM_SLOW] = "none from here: the host would have to offer "
			"nested virtualization",
	};
	char why[160];
	enum kvm_verdict v = probe_kvm(why, sizeof(why));

	finding(v == KVM_REAL ? VERDICT_OK : VERDICT_NOTE, "KVM",
		v == KVM_REAL ? NULL : cures[v], "%s", why);
	return v == KVM_REAL;
}

static bool check_programs(void)
{
	static const char *const names[] = {
		"vireo-blk", "vireo-console", "vireo-net", "vireo-rng",
	};
	char path[PATH_MAX];
	bool good = true;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!find_program(names[i], path)) {
			finding(VERDICT_OK, names[i], NULL, "%s", path);
			continue;
		}
		finding(VERDICT_BAD, names[i], "build it with `make`, or "
			"install Vireo as a whole",
			"not beside this program, nor in PATH");
		good = false;
	}
	return good;
}

static bool check_e2fs(void)
{
	bool good = have_tool("mke2fs") && have_tool("e2fsck") &&
		    have_tool("debugfs");

	finding(good ? VERDICT_OK : VERDICT_BAD, "e2fsprogs",
		"apt-get install e2fsprogs",
		good ? "mke2fs, e2fsck and debugfs are here"
		     : "mke2fs, e2fsck or debugfs is missing");
	return good;
}

static bool check_busybox(void)
{
	char path[PATH_MAX];
	bool here = !kernel_find_busybox(path);
	bool fetch = kernel_can_fetch();

	if (here)
		finding(VERDICT_OK, "busybox", NULL, "%s, static", path);
	else
		finding(fetch ? VERDICT_NOTE : VERDICT_BAD, "busybox",
			"apt-get install busybox-static", fetch ?
			"not static or not here; `vireo run` fetches it" :
			"no static busybox, and no apt-get to fetch it");
	return here || fetch;
}

/* One guest kernel: is it here, or can it be had? */
static bool check_guest(enum guest_kind kind, const char *name,
			const char *cure)
{
	struct guest_kernel k;
	bool here = !kernel_find(kind, &k);
	bool fetch = kernel_can_fetch();

	if (here)
		finding(VERDICT_OK, name, NULL, "%s", k.image);
	else
		finding(VERDICT_NOTE, name, cure, fetch ?
			"not here yet; `vireo run` fetches it when needed" :
			"not here, and no apt-get to fetch it");
	return here || fetch;
}

static bool check_qemu(void)
{
	bool good = have_tool("qemu-system-x86_64");

	finding(good ? VERDICT_OK : VERDICT_NOTE, "QEMU",
		"apt-get install qemu-system-x86 (not needed where User "
		"Mode Linux works)",
		good ? "qemu-system-x86_64 is here" : "not installed");
	return good;
}

static int doctor_usage(int code)
{
	fputs("Usage: vireo doctor\n"
	      "\n"
	      "Says what this machine can and cannot do, with the cure.\n"
	      "Exit code 0: `vireo run` can work here; 1: it cannot.\n",
	      code ? stderr : stdout);
	return code;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool kvm, uml, qemu, pc, base;
	char path[PATH_MAX];
	const char *with;

	switch (getopt_long(argc, argv, "h", longs, NULL)) {
	case -1:
		break;
	case 'h':
		return doctor_usage(0);
	default:
		return doctor_usage(2);
	}
	if (optind < argc)
		return doctor_usage(2);
	puts("The machine:");
	kvm = check_kvm();
	base = doctor_memfd();
	uml = doctor_shm();
	uml &= doctor_ptrace();
	doctor_io_uring();
	doctor_sandbox();
	doctor_limits();
	doctor_hugepages();
	puts("The programs:");
	base &= check_programs();
	base &= check_e2fs();
	base &= check_busybox();
	uml &= check_guest(GUEST_UML, "UML kernel",
			   "apt-get install user-mode-linux");
	qemu = check_qemu();
	pc = check_guest(GUEST_PC, "PC kernel",
			 "apt-get install linux-image-cloud-amd64");
	qemu &= pc;
	if (!uml && !qemu)
		finding(VERDICT_BAD, "hypervisor",
			"apt-get install user-mode-linux",
			"neither User Mode Linux nor QEMU can start a guest");
	if (!base || !(uml || qemu)) {
		puts("`vireo run` cannot work here: see the lines marked "
		     "bad.");
		return 1;
	}
	with = kvm && pc && !find_program("vireo-vmm", path) ? "KVM" :
	       kvm && qemu ? "QEMU and KVM" :
	       uml ? "User Mode Linux" : "QEMU in software emulation";
	printf("`vireo run` can work here, with %s.\n", with);
	return 0;
}
