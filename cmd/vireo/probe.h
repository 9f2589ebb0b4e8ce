/* SPDX-License-Identifier: MIT */
/*
 * What the machine really can do, found by trying. Decides nothing: the
 * choice of a hypervisor is run.c's, the advice is doctor.c's.
 */
#ifndef VIREO_PROBE_H
#define VIREO_PROBE_H

#include <stdbool.h>
#include <stddef.h>

enum kvm_verdict {
	KVM_ABSENT,	/* no /dev/kvm */
	KVM_DENIED,	/* there, but not for this user */
	KVM_BROKEN,	/* opens, but a guest's code does not run right */
	KVM_SLOW,	/* runs, but instruction by instruction, emulated */
	KVM_REAL,
};

/*
 * Run a little 64-bit program with paging under KVM, in a child with a
 * time limit. Blocks for half a second, three at worst. @why gets one
 * clause of explanation.
 */
enum kvm_verdict probe_kvm(char *why, size_t size);

#endif
