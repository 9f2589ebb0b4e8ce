/* SPDX-License-Identifier: MIT */
/*
 * Messages that KVM sends by itself when an eventfd is signalled: an interrupt
 * that another process causes reaches the guest past this program. Any thread.
 */
#ifndef VMM_MSI_H
#define VMM_MSI_H

#include <pthread.h>

#include "vmm/vm.h"

struct kvm_irq_routing;

struct msi {
	struct vm *vm;
	pthread_mutex_t lock;
	struct kvm_irq_routing *table;	/* all of KVM's; NULL: it has none */
	unsigned room;			/* entries */
};

/* One message; zero it. */
struct msi_line {
	unsigned gsi;		/* 0: none yet; kept once there is one */
	bool bound;
	int fd;			/* the caller's */
	uint64_t addr;
	uint32_t data;
};

/* KVM may be too old for this: then nothing can be bound. 0 or -ENOMEM. */
int msi_init(struct msi *msi, struct vm *vm);
void msi_fini(struct msi *msi);

/*
 * From now on an event of @fd is this message; one that came already is, too.
 * 0, also if it is so already; -ENOSPC, -ENOTSUP or what KVM says: nothing is
 * bound then.
 */
int msi_bind(struct msi *msi, struct msi_line *line, int fd, uint64_t addr,
	     uint32_t data);
/* Events stay in the eventfd, for others to read. */
void msi_unbind(struct msi *msi, struct msi_line *line);

#endif
