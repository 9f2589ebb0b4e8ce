/* SPDX-License-Identifier: MIT */
/*
 * A processor: its state at the start, and the thread that runs it and hands
 * what it cannot do to the buses. Knows no device.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "vmm/bus.h"
#include "vmm/vm.h"

struct kvm_run;

/* How often a processor came out of the guest, and why. One writer. */
struct vcpu_stats {
	uint64_t mmio, pio, other;
};

struct vcpu_env {
	struct vm *vm;
	const struct bus *mmio, *ports;
	unsigned cpus;
	uint64_t entry;		/* of the first */
	/*
	 * The processor cannot go on: a line with the reason was logged, if
	 * @failed. Its thread.
	 */
	void (*stopped)(void *ctx, bool failed);
	void *ctx;
};

struct vcpu {
	const struct vcpu_env *env;
	unsigned index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	atomic_bool stop;
	struct vcpu_stats stats;
};

/*
 * Make a processor; the first starts at env->entry, the others wait to be
 * woken by it. 0, or -errno after an error line. @env stays.
 */
int vcpu_open(struct vcpu *v, const struct vcpu_env *env, unsigned index);
/* Run it on a thread of its own. 0 or -errno, said already. */
int vcpu_start(struct vcpu *v);
/* Have it leave the guest, wait for its thread. Fine if it never ran. */
void vcpu_stop(struct vcpu *v);
void vcpu_close(struct vcpu *v);

#endif
