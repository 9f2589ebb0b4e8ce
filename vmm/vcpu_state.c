/* SPDX-License-Identifier: MIT */
/* A processor at its start: see vcpu_state.h. */
#include "vmm/vcpu_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/layout.h"

enum {
	CPUID_MAX = 256,
	ECX1_DEADLINE = 1 << 24,
	CR0_PE = 1, CR0_MP = 2, CR0_ET = 0x10, CR0_NE = 0x20,
	CR0_WP = 0x10000, CR0_AM = 0x40000,
	CR4_PAE = 0x20,
	EFER_LME = 0x100, EFER_LMA = 0x400,
	SEL_CODE = 0x10, SEL_DATA = 0x18,
	TYPE_CODE = 11, TYPE_DATA = 3, TYPE_TSS = 11,
	RFLAGS_ONE = 2,
	MSR_MISC_ENABLE = 0x1a0, MISC_FAST_STRING = 1,
	MSR_MTRR_DEFAULT = 0x2ff, MTRR_ON_WRITE_BACK = 0x806,
};

#define CR0_PG			0x80000000u
#define ECX1_HYPERVISOR		0x80000000u

/* -- CPUID --------------------------------------------------------------- */

/* Bits that hold the numbers below @n. */
static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static void fix_leaf1(struct kvm_cpuid_entry2 *e, unsigned index,
		      unsigned cpus)
{
	e->ebx = (e->ebx & 0xff00) | index << 24 | cpus << 16;
	/* KVM has the timer in its interrupt controller, yet leaves it to
	 * us to say so, as it does that there is a hypervisor. */
	e->ecx |= ECX1_HYPERVISOR | ECX1_DEADLINE;
	if (cpus > 1)
		e->edx |= 1u << 28;
}

/* Which processors share what: each has a core of its own, in one package. */
static void fix_topology(struct kvm_cpuid_entry2 *e, unsigned index,
			 unsigned cpus)
{
	e->eax = e->index == 1 ? bits_for(cpus) : 0;
	e->ebx = e->index == 0 ? 1 : e->index == 1 ? cpus : 0;
	e->ecx = e->index | (e->index < 2 ? (e->index + 1) << 8 : 0);
	e->edx = index;
}

static void fix_entry(struct kvm_cpuid_entry2 *e, unsigned index,
		      unsigned cpus)
{
	switch (e->function) {
	case 1:
		fix_leaf1(e, index, cpus);
		return;
	case 4:
		e->eax = (e->eax & 0x3ff) | (cpus - 1) << 26;
		return;
	case 0xb:
	case 0x1f:
		fix_topology(e, index, cpus);
		return;
	case 0x80000008:
		e->ecx = (e->ecx & ~0xf0ffu) | bits_for(cpus) << 12 |
			 (cpus - 1);
		return;
	case 0x8000001e:
		e->eax = index;
		e->ebx = (e->ebx & ~0xffffu) | index;
		e->ecx = 0;
		return;
	default:
		return;
	}
}

int vcpu_set_cpuid(int kvm, int vcpu, unsigned index, unsigned cpus)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) +
				      CPUID_MAX * sizeof(c->entries[0]));
	int err = 0;

	if (!c)
		return -ENOMEM;
	c->nent = CPUID_MAX;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c) < 0) {
		err = -errno;
	} else {
		for (uint32_t i = 0; i < c->nent; i++)
			fix_entry(&c->entries[i], index, cpus);
		if (ioctl(vcpu, KVM_SET_CPUID2, c) < 0)
			err = -errno;
	}
	free(c);
	return err;
}

/* -- registers ----------------------------------------------------------- */

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
	struct kvm_segment s = {
		.limit = UINT32_MAX, .selector = selector, .type = type,
		.present = 1, .s = 1, .g = 1,
	};

	s.l = type == TYPE_CODE;
	s.db = type != TYPE_CODE;
	return s;
}

static int set_sregs(int vcpu)
{
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s) < 0)
		return -errno;
	s.gdt.base = VMM_GDT;
	s.gdt.limit = 4 * 8 - 1;
	s.idt.base = 0;
	s.idt.limit = 0;
	s.cs = flat(SEL_CODE, TYPE_CODE);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(SEL_DATA, TYPE_DATA);
	s.tr = (struct kvm_segment){
		.limit = 0x67, .type = TYPE_TSS, .present = 1,
	};
	s.cr3 = VMM_PAGE_TABLES;
	s.cr4 = CR4_PAE;
	s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	s.efer = EFER_LME | EFER_LMA;
	return ioctl(vcpu, KVM_SET_SREGS, &s) < 0 ? -errno : 0;
}

/* What firmware would have left there; not every KVM has each of them. */
static void set_msrs(int vcpu)
{
	static const struct kvm_msr_entry list[] = {
		{ .index = MSR_MTRR_DEFAULT, .data = MTRR_ON_WRITE_BACK },
		{ .index = MSR_MISC_ENABLE, .data = MISC_FAST_STRING },
	};
	uint64_t room[(sizeof(struct kvm_msrs) + sizeof(list[0])) / 8];
	struct kvm_msrs *m = (struct kvm_msrs *)(void *)room;

	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		memset(m, 0, sizeof(*m));
		m->nmsrs = 1;
		memcpy(m + 1, &list[i], sizeof(list[i]));
		ioctl(vcpu, KVM_SET_MSRS, m);
	}
}

int vcpu_set_boot_state(int vcpu, uint64_t entry)
{
	struct kvm_regs r = {
		.rip = entry, .rsi = VMM_BOOT_PARAMS, .rflags = RFLAGS_ONE,
	};
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };
	int err = set_sregs(vcpu);

	if (err)
		return err;
	if (ioctl(vcpu, KVM_SET_REGS, &r) < 0 ||
	    ioctl(vcpu, KVM_SET_FPU, &fpu) < 0)
		return -errno;
	set_msrs(vcpu);
	return 0;
}
