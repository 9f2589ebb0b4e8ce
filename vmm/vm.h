/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine as KVM has it: the descriptors, memory slots, interrupt
 * lines, and event file descriptors that stand for a store.
 *
 * Does not know processors (vcpu.h), devices, or what lies in the memory.
 * All functions after vm_open() may be called from any thread.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm {
	int kvm;		/* /dev/kvm */
	int fd;			/* the machine */
	size_t run_size;	/* bytes of a processor's shared page(s) */
};

/*
 * Open KVM, check that it has what we use, make a machine with KVM's own
 * interrupt controllers and timer. Returns 0, or -errno after an error line
 * that names cause and cure.
 */
int vm_open(struct vm *vm);
void vm_close(struct vm *vm);

/* Give the guest @size bytes of ours at @gpa. 0 or -errno, said already. */
int vm_add_ram(struct vm *vm, unsigned slot, uint64_t gpa, uint64_t size,
	       void *host);

/* Set the level of an input of the interrupt controllers. */
void vm_irq_line(struct vm *vm, unsigned gsi, bool level);

/* A store of the guest that becomes an event, without leaving the kernel. */
struct vm_store {
	uint64_t addr;
	unsigned len;		/* of the store; 0: any */
	bool port;		/* an I/O port; else memory */
	bool match;		/* only a store of @value */
	uint64_t value;
};

/* Have @store signal the eventfd @fd, from now on or no longer. 0 or -errno. */
int vm_ioeventfd(struct vm *vm, const struct vm_store *store, int fd,
		 bool add);

/* Send a message-signalled interrupt. */
void vm_msi(struct vm *vm, uint64_t addr, uint32_t data);

#endif
