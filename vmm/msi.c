/* SPDX-License-Identifier: MIT */
/*
 * Messages sent by KVM: see msi.h. KVM knows interrupts by number (GSI), and
 * one table says what each is. It is given as a whole each time, so what KVM
 * would have had by itself, the pins of its controllers, comes first.
 */
#include "vmm/msi.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/layout.h"

enum { PIC_PINS = 8, PINS = 2 * PIC_PINS + VMM_IOAPIC_PINS };

static void add_pin(struct kvm_irq_routing *t, unsigned gsi, unsigned chip,
		    unsigned pin)
{
	t->entries[t->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static void add_pins(struct kvm_irq_routing *t)
{
	for (unsigned i = 0; i < PIC_PINS; i++) {
		add_pin(t, i, KVM_IRQCHIP_PIC_MASTER, i);
		add_pin(t, PIC_PINS + i, KVM_IRQCHIP_PIC_SLAVE, i);
	}
	for (unsigned i = 0; i < VMM_IOAPIC_PINS; i++)
		add_pin(t, i, KVM_IRQCHIP_IOAPIC, i);
}

int msi_init(struct msi *msi, struct vm *vm)
{
	int routes = ioctl(vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);

	memset(msi, 0, sizeof(*msi));
	pthread_mutex_init(&msi->lock, NULL);
	msi->vm = vm;
	if (routes <= PINS ||
	    ioctl(vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) <= 0)
		return 0;
	msi->room = (unsigned)routes;
	msi->table = calloc(1, sizeof(*msi->table) +
			    msi->room * sizeof(msi->table->entries[0]));
	if (!msi->table)
		return -ENOMEM;
	add_pins(msi->table);
	return 0;
}

void msi_fini(struct msi *msi)
{
	free(msi->table);
	msi->table = NULL;
	pthread_mutex_destroy(&msi->lock);
}

static int irqfd(struct msi *msi, const struct msi_line *line, bool on)
{
	struct kvm_irqfd f = {
		.fd = (uint32_t)line->fd, .gsi = line->gsi,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return ioctl(msi->vm->fd, KVM_IRQFD, &f) < 0 ? -errno : 0;
}

/* The line's entry in the table, a new one if it has none. */
static struct kvm_irq_routing_entry *entry_of(struct msi *msi,
					      struct msi_line *line)
{
	struct kvm_irq_routing *t = msi->table;
	unsigned first = PINS - VMM_IOAPIC_PINS;

	if (!t)
		return NULL;
	if (!line->gsi) {
		if (t->nr == msi->room)
			return NULL;
		/* Numbers go on where those of the pins end. */
		line->gsi = t->nr++ - first;
	}
	return &t->entries[line->gsi + first];
}

static int bind_it(struct msi *msi, struct msi_line *line)
{
	struct kvm_irq_routing_entry *e = entry_of(msi, line);

	if (!e)
		return msi->table ? -ENOSPC : -ENOTSUP;
	*e = (struct kvm_irq_routing_entry){
		.gsi = line->gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)line->addr,
			   .address_hi = (uint32_t)(line->addr >> 32),
			   .data = line->data },
	};
	if (ioctl(msi->vm->fd, KVM_SET_GSI_ROUTING, msi->table) < 0)
		return -errno;
	return irqfd(msi, line, true);
}

static void unbind(struct msi *msi, struct msi_line *line)
{
	if (line->bound)
		irqfd(msi, line, false);
	line->bound = false;
}

int msi_bind(struct msi *msi, struct msi_line *line, int fd, uint64_t addr,
	     uint32_t data)
{
	int err;

	if (line->bound && line->fd == fd && line->addr == addr &&
	    line->data == data)
		return 0;
	pthread_mutex_lock(&msi->lock);
	unbind(msi, line);
	line->fd = fd;
	line->addr = addr;
	line->data = data;
	err = bind_it(msi, line);
	line->bound = !err;
	pthread_mutex_unlock(&msi->lock);
	return err;
}

void msi_unbind(struct msi *msi, struct msi_line *line)
{
	pthread_mutex_lock(&msi->lock);
	unbind(msi, line);
	pthread_mutex_unlock(&msi->lock);
}
