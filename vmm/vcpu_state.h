/* SPDX-License-Identifier: MIT */
/*
 * What a processor is at its start: which features it has (CPUID), and the
 * registers that Linux's 64-bit boot protocol asks for.
 */
#ifndef VMM_VCPU_STATE_H
#define VMM_VCPU_STATE_H

#include <stdint.h>

/* All that KVM can give, as processor @index of @cpus. 0 or -errno. */
int vcpu_set_cpuid(int kvm, int vcpu, unsigned index, unsigned cpus);

/* Long mode with paging, as boot.h has prepared it. 0 or -errno. */
int vcpu_set_boot_state(int vcpu, uint64_t entry);

#endif
