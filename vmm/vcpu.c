/* SPDX-License-Identifier: MIT */
/* A processor and its thread: see vcpu.h. */
#include "vmm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "host/log.h"
#include "vmm/vcpu_state.h"

/* Brings a thread out of the guest; does nothing else. */
#define KICK_SIGNAL	SIGUSR1

static void on_kick(int nr)
{
	(void)nr;
}

/* -- life cycle ---------------------------------------------------------- */

int vcpu_open(struct vcpu *v, const struct vcpu_env *env, unsigned index)
{
	const char *what = "make it";
	int err;

	*v = (struct vcpu){ .env = env, .index = index };
	v->fd = ioctl(env->vm->fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (v->fd < 0)
		goto failed;
	what = "map its page";
	v->run = mmap(NULL, env->vm->run_size, PROT_READ | PROT_WRITE,
		      MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		goto failed;
	}
	err = vcpu_set_cpuid(env->vm->kvm, v->fd, index, env->cpus);
	if (!err && !index)
		err = vcpu_set_boot_state(v->fd, env->entry);
	if (!err)
		return 0;
	log_err("KVM refuses the state of processor %u: %s", index,
		strerror(-err));
	vcpu_close(v);
	return err;
failed:
	err = -errno;
	log_err("processor %u of %u: KVM does not %s: %s%s", index, env->cpus,
		what, strerror(-err), index ? "; give the guest fewer" : "");
	vcpu_close(v);
	return err;
}

void vcpu_close(struct vcpu *v)
{
	if (v->run)
		munmap(v->run, v->env->vm->run_size);
	if (v->fd >= 0)
		close(v->fd);
	v->run = NULL;
	v->fd = -1;
}

/* -- what the guest wants of us ------------------------------------------ */

static void do_ports(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	unsigned char *data = (unsigned char *)r + r->io.data_offset;

	for (uint32_t i = 0; i < r->io.count; i++, data += r->io.size) {
		uint64_t value = 0;

		if (r->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, r->io.size);
			bus_write(v->env->ports, r->io.port, value,
				  r->io.size);
		} else {
			value = bus_read(v->env->ports, r->io.port,
					 r->io.size);
			memcpy(data, &value, r->io.size);
		}
	}
}

static void do_mmio(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	unsigned len = r->mmio.len;
	uint64_t value = 0;

	if (len > sizeof(value))
		return;
	if (r->mmio.is_write) {
		memcpy(&value, r->mmio.data, len);
		bus_write(v->env->mmio, r->mmio.phys_addr, value, len);
	} else {
		value = bus_read(v->env->mmio, r->mmio.phys_addr, len);
		memcpy(r->mmio.data, &value, len);
	}
}

static void count(uint64_t *n)
{
	__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

static const char *reason_of(const struct kvm_run *r)
{
	switch (r->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		return "a triple fault: the kernel does not fit this processor, or is damaged";
	case KVM_EXIT_FAIL_ENTRY:
		return "the hardware refuses the processor's state";
	case KVM_EXIT_INTERNAL_ERROR:
		return "KVM met an instruction that it cannot emulate";
	default:
		return "KVM gives a reason that this machine does not know";
	}
}

static bool give_up(struct vcpu *v)
{
	struct kvm_regs regs = { 0 };

	ioctl(v->fd, KVM_GET_REGS, &regs);
	log_err("processor %u stopped at 0x%llx: %s (exit %u)", v->index,
		(unsigned long long)regs.rip, reason_of(v->run),
		v->run->exit_reason);
	v->env->stopped(v->env->ctx, true);
	return false;
}

/* True: go on. */
static bool handle_exit(struct vcpu *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_MMIO:
		count(&v->stats.mmio);
		do_mmio(v);
		return true;
	case KVM_EXIT_IO:
		count(&v->stats.pio);
		do_ports(v);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		count(&v->stats.other);
		return true;
	default:
		return give_up(v);
	}
}

static bool run_once(struct vcpu *v)
{
	if (ioctl(v->fd, KVM_RUN, 0) == 0)
		return handle_exit(v);
	if (errno == EINTR || errno == EAGAIN)
		return true;
	log_err("processor %u does not run: %s", v->index, strerror(errno));
	v->env->stopped(v->env->ctx, true);
	return false;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	snprintf(name, sizeof(name), "cpu %u", v->index);
	prctl(PR_SET_NAME, name);
	while (!atomic_load(&v->stop) && run_once(v))
		;
	return NULL;
}

int vcpu_start(struct vcpu *v)
{
	struct sigaction sa = { .sa_handler = on_kick };
	sigset_t all, old;
	int err;

	sigaction(KICK_SIGNAL, &sa, NULL);
	sigfillset(&all);
	sigdelset(&all, KICK_SIGNAL);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&v->thread, NULL, vcpu_thread, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	v->started = !err;
	if (err)
		log_err("no thread for processor %u: %s", v->index,
			strerror(err));
	return -err;
}

void vcpu_stop(struct vcpu *v)
{
	if (!v->started)
		return;
	atomic_store(&v->stop, true);
	/* For one that is on its way into the guest; the signal is for one
	 * that is there. */
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->thread, KICK_SIGNAL);
	pthread_join(v->thread, NULL);
	v->started = false;
}
