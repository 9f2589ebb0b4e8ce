/* SPDX-License-Identifier: MIT */
/*
 * Is KVM real here? A node /dev/kvm proves nothing: some hosts offer one
 * that emulates each instruction, and a Linux guest under it never finishes
 * its boot. So run a loop in long mode with paging, as a kernel would, and
 * the same loop outside, and compare. Knows no hypervisor program.
 */
#include "probe.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvm.h>

enum {
	PROBE_MEM = 1 << 20,
	PROBE_LOOPS = 100000,		/* three instructions each */
	/*
	 * Hardware takes as long as outside, and some microseconds for the
	 * way in and out; an emulator takes some thousand times as long. On
	 * a busy machine any single try may be late, hence several.
	 */
	SLOWER_MAX = 50,
	EXTRA_MAX_MS = 5,
	TRIES_MS = 400,
	HANG_MS = 10000,			/* for all of it */
	ADDR_PML4 = 0x1000,
	ADDR_PDPT = 0x2000,
	ADDR_PD = 0x3000,
	ADDR_COUNT = 0x5000,
	ADDR_STACK = 0x7000,
	ADDR_CODE = 0x8000,
	PROBE_PORT = 0x10,
};

/* What the child says on its pipe; no word at all means it hung. */
enum probe_word { WORD_RIGHT = 'r', WORD_SLOW = 's', WORD_WRONG = 'w' };

#if defined(__x86_64__)

static const uint8_t probe_code[] = {
	0xb9, 0xa0, 0x86, 0x01, 0x00,		/* mov $100000, %ecx */
	0x48, 0xff, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00, /* incq 0x5000 */
	0xff, 0xc9,				/* dec %ecx */
	0x75, 0xf4,				/* jnz back to incq */
	0x0f, 0x20, 0xd8,			/* mov %cr3, %rax */
	0x0f, 0x22, 0xd8,			/* mov %rax, %cr3 */
	0xe6, PROBE_PORT,			/* out %al, $0x10 */
	0xf4,					/* hlt */
};

static void put_entry(char *mem, unsigned int at, uint64_t entry)
{
	memcpy(mem + at, &entry, sizeof(entry));
}

/* One 2 MiB page maps all; flat 64-bit code, flat data. */
static int enter_long_mode(int vcpu, char *mem)
{
	struct kvm_segment seg = {
		.limit = 0xffffffff, .selector = 8, .type = 11,
		.present = 1, .s = 1, .l = 1, .g = 1,
	};
	struct kvm_sregs sregs;

	put_entry(mem, ADDR_PML4, ADDR_PDPT | 3);
	put_entry(mem, ADDR_PDPT, ADDR_PD | 3);
	put_entry(mem, ADDR_PD, 0x83);
	memcpy(mem + ADDR_CODE, probe_code, sizeof(probe_code));
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cr3 = ADDR_PML4;
	sregs.cr4 = 0x20;		/* PAE */
	sregs.cr0 = 0x80000011;		/* paging, protected mode */
	sregs.efer = 0x500;		/* long mode, active */
	sregs.cs = seg;
	seg.type = 3;
	seg.selector = 16;
	seg.l = 0;
	seg.db = 1;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = seg;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 ? -errno : 0;
}

/* From its start to its halt; it has to have done what it should. */
static int run_program(int vcpu, const struct kvm_run *run, char *mem)
{
	const struct kvm_regs regs = {
		.rip = ADDR_CODE, .rsp = ADDR_STACK, .rflags = 2,
	};
	uint64_t count = 0;

	memcpy(mem + ADDR_COUNT, &count, sizeof(count));
	if (ioctl(vcpu, KVM_SET_REGS, &regs) < 0 ||
	    ioctl(vcpu, KVM_RUN, 0) < 0)
		return -errno;
	memcpy(&count, mem + ADDR_COUNT, sizeof(count));
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PROBE_PORT ||
	    count != PROBE_LOOPS)
		return -EIO;
	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return -errno;
	return run->exit_reason == KVM_EXIT_HLT ? 0 : -EIO;
}

/* The same loop here: what the hardware can do. */
static double time_outside(void)
{
	double start = now_seconds();
	volatile uint64_t count = 0;

	for (int i = 0; i < PROBE_LOOPS; i++)
		count++;
	return now_seconds() - start;
}

static enum probe_word race(int vcpu, const struct kvm_run *run, char *mem)
{
	double limit = SLOWER_MAX * time_outside() + EXTRA_MAX_MS / 1e3;
	double begin = now_seconds(), start, now;

	do {
		start = now_seconds();
		if (run_program(vcpu, run, mem))
			return WORD_WRONG;
		now = now_seconds();
		if (now - start < limit)
			return WORD_RIGHT;
	} while (now - begin < TRIES_MS / 1e3);
	return WORD_SLOW;
}

/* The child's work; all it opened dies with it. */
static enum probe_word try_kvm(int kvm)
{
	char *mem = mmap(NULL, PROBE_MEM, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.memory_size = PROBE_MEM,
		.userspace_addr = (uintptr_t)mem,
	};
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run;
	int vcpu;

	if (mem == MAP_FAILED || vm < 0 ||
	    size < (int)sizeof(struct kvm_run) ||
	    ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return WORD_WRONG;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return WORD_WRONG;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu, 0);
	if (run == MAP_FAILED || enter_long_mode(vcpu, mem))
		return WORD_WRONG;
	return race(vcpu, run, mem);
}

#else

static enum probe_word try_kvm(int kvm)
{
	(void)kvm;
	return WORD_WRONG;
}

#endif

static enum kvm_verdict judge_child(int kvm, char *why, size_t size)
{
	struct pollfd p = { .events = POLLIN };
	enum kvm_verdict verdict;
	int pipes[2];
	char word = 0;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return KVM_BROKEN;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		word = (char)try_kvm(kvm);
		_exit(write(pipes[1], &word, 1) != 1);
	}
	close(pipes[1]);
	p.fd = pipes[0];
	if (pid < 0 || poll(&p, 1, HANG_MS) < 0) {
		verdict = KVM_BROKEN;
		snprintf(why, size, "the probe failed: %s", strerror(errno));
	} else if (!p.revents || read(pipes[0], &word, 1) != 1) {
		verdict = KVM_BROKEN;
		snprintf(why, size, "/dev/kvm opens, but a guest hangs in it");
	} else if (word == WORD_SLOW) {
		verdict = KVM_SLOW;
		snprintf(why, size, "/dev/kvm opens, but its guests run "
			 "instruction by instruction, emulated");
	} else if (word != WORD_RIGHT) {
		verdict = KVM_BROKEN;
		snprintf(why, size,
			 "/dev/kvm opens, but 64-bit code fails under it");
	} else {
		verdict = KVM_REAL;
		snprintf(why, size, "64-bit code runs at the speed of "
			 "the hardware");
	}
	close(pipes[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return verdict;
}

enum kvm_verdict probe_kvm(char *why, size_t size)
{
	enum kvm_verdict verdict;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 && errno == EACCES) {
		snprintf(why, size, "/dev/kvm is closed to this user");
		return KVM_DENIED;
	}
	if (kvm < 0) {
		snprintf(why, size, "no /dev/kvm");
		return KVM_ABSENT;
	}
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		snprintf(why, size, "/dev/kvm speaks another API version");
		verdict = KVM_BROKEN;
	} else {
		verdict = judge_child(kvm, why, size);
	}
	close(kvm);
	return verdict;
}
