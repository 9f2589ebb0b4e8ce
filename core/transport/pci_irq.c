/* SPDX-License-Identifier: MIT */
/*
 * pci_irq.c - interrupts of the PCI transport's device side: the ISR status
 * and the INTx line, the MSI-X table with its masks and pending bits. It
 * knows why an interrupt is raised, but not what a driver does with it.
 *
 * Events come from the threads of queues, accesses from the control thread:
 * all that both touch is atomic. A message is never lost between a mask that
 * is taken away and an event that comes: each side first says what it did,
 * then looks at what the other said, both sequentially consistent.
 */
#include "core/transport/common_line.h"
#include "core/transport/pci.h"
#include "core/base/string.h"

static uint32_t irq_mode(const struct vio_pci *p)
{
	return __atomic_load_n(&p->irq_mode, __ATOMIC_SEQ_CST);
}

/* -- INTx ---------------------------------------------------------------- */

static bool line_wanted(const void *transport)
{
	const struct vio_pci *p = transport;

	return __atomic_load_n(&p->isr, __ATOMIC_SEQ_CST) &&
	       irq_mode(p) & VIO_PCI_IRQ_LINE;
}

static void update_line(struct vio_pci *p)
{
	vio_line_update(&p->line, line_wanted, p, p->ops->intx, p->ctx);
}

uint32_t vio_pci_isr_read(struct vio_pci *p)
{
	/* pci.device.isr-status-capability.5 */
	uint32_t isr = __atomic_exchange_n(&p->isr, 0, __ATOMIC_SEQ_CST);

	if (isr)
		update_line(p);
	return isr;
}

/* -- MSI-X --------------------------------------------------------------- */

static uint32_t word(const struct vio_pci_vector *v, unsigned i)
{
	return __atomic_load_n(&v->word[i], __ATOMIC_SEQ_CST);
}

bool vio_pci_vector(const struct vio_pci *p, unsigned vector, uint64_t *addr,
		    uint32_t *data)
{
	const struct vio_pci_vector *v;

	if (vector >= p->nr_vectors || !(irq_mode(p) & VIO_PCI_IRQ_SEND))
		return false;
	v = &p->vector[vector];
	if (word(v, 3) & VIO_PCI_MSIX_ENTRY_MASKED)
		return false;
	*addr = word(v, 0) | (uint64_t)word(v, 1) << 32;
	*data = word(v, 2);
	return true;
}

/* Send what is pending, if it may be sent. */
static void flush(struct vio_pci *p, unsigned vector)
{
	uint64_t addr;
	uint32_t data;

	if (vio_pci_vector(p, vector, &addr, &data) &&
	    __atomic_exchange_n(&p->vector[vector].pending, 0,
				__ATOMIC_SEQ_CST))
		p->ops->msi(p->ctx, vector, addr, data);
}

void vio_pci_vector_raise(struct vio_pci *p, unsigned vector)
{
	if (vector >= p->nr_vectors || !(irq_mode(p) & VIO_PCI_IRQ_MSIX))
		return;
	__atomic_store_n(&p->vector[vector].pending, 1, __ATOMIC_SEQ_CST);
	flush(p, vector);
}

static void vector_changed(struct vio_pci *p, unsigned vector)
{
	if (p->ops->vector_changed)
		p->ops->vector_changed(p->ctx, vector);
	flush(p, vector);
}

uint32_t vio_pci_msix_pba(const struct vio_pci *p)
{
	uint32_t size = 0x800;

	while (size < p->nr_vectors * (uint32_t)VIO_PCI_MSIX_ENTRY)
		size *= 2;
	return size;
}

uint64_t vio_pci_msix_bar_size(const struct vio_pci *p)
{
	return 2 * (uint64_t)vio_pci_msix_pba(p);
}

static uint32_t read_pending(const struct vio_pci *p, uint32_t off)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < 32; i++) {
		uint32_t vector = off * 8 + i;

		if (vector < p->nr_vectors &&
		    __atomic_load_n(&p->vector[vector].pending,
				    __ATOMIC_SEQ_CST))
			bits |= 1u << i;
	}
	return bits;
}

/* @off within the region; @len is 4, at a multiple of it. */
uint32_t vio_pci_msix_read(struct vio_pci *p, uint64_t off, unsigned len)
{
	uint32_t pba = vio_pci_msix_pba(p);

	if (len != 4 || off % 4 || off >= 2 * (uint64_t)pba)
		return 0;
	if (off >= pba)
		return read_pending(p, (uint32_t)off - pba);
	if (off / VIO_PCI_MSIX_ENTRY >= p->nr_vectors)
		return 0;
	return word(&p->vector[off / VIO_PCI_MSIX_ENTRY],
		    off % VIO_PCI_MSIX_ENTRY / 4);
}

void vio_pci_msix_write(struct vio_pci *p, uint64_t off, uint32_t v,
			unsigned len)
{
	uint64_t vector = off / VIO_PCI_MSIX_ENTRY;
	unsigned field = off % VIO_PCI_MSIX_ENTRY / 4;

	if (len != 4 || off % 4 || vector >= p->nr_vectors)
		return;
	if (field == 0)
		v &= ~3u;	/* messages are words of 32 bits */
	if (field == 3)
		v &= VIO_PCI_MSIX_ENTRY_MASKED;
	__atomic_store_n(&p->vector[vector].word[field], v, __ATOMIC_SEQ_CST);
	vector_changed(p, (unsigned)vector);
}

/* -- both ---------------------------------------------------------------- */

static void raise_event(struct vio_pci *p, uint32_t bit, uint16_t vector)
{
	bool msix = irq_mode(p) & VIO_PCI_IRQ_MSIX;

	/* pci.device.isr-status-capability.2 asks for this bit always, .3 for
	 * that of the queues without MSI-X */
	if (!msix || bit == VIRTIO_PCI_ISR_CONFIG)
		__atomic_fetch_or(&p->isr, bit, __ATOMIC_SEQ_CST);
	if (msix)
		vio_pci_vector_raise(p, vector);
	else
		update_line(p);
}

uint16_t vio_pci_queue_vector(const struct vio_pci *p, uint16_t index)
{
	return __atomic_load_n(&p->queue[index].vector, __ATOMIC_SEQ_CST);
}

static void on_notify(void *ctx, struct vio_queue *q)
{
	struct vio_pci *p = ctx;

	raise_event(p, VIRTIO_PCI_ISR_QUEUE,
		    vio_pci_queue_vector(p, q->index));
}

static void on_config_changed(void *ctx)
{
	struct vio_pci *p = ctx;

	raise_event(p, VIRTIO_PCI_ISR_CONFIG,
		    __atomic_load_n(&p->config_vector, __ATOMIC_SEQ_CST));
}

static void on_ready(void *ctx, struct vio_queue *q)
{
	struct vio_pci *p = ctx;

	p->ops->serve(p->ctx, q);
}

const struct vio_transport_ops vio_pci_transport_ops = {
	.queue_notify = on_notify,
	.queue_ready = on_ready,
	.config_changed = on_config_changed,
};

static uint32_t mode_of(const struct vio_pci *p)
{
	uint16_t command = vio_pci_config_16(p, VIO_PCI_COMMAND), control = 0;
	bool asleep = p->config[p->cap_pm + VIO_PCI_PM_CSR] &
		      VIO_PCI_PM_STATE;

	if (p->cap_msix)
		control = vio_pci_config_16(p, p->cap_msix +
					    VIO_PCI_MSIX_CONTROL);
	if (!(control & VIO_PCI_MSIX_ENABLE))
		return asleep || command & VIO_PCI_COMMAND_NO_INTX ?
		       0 : VIO_PCI_IRQ_LINE;
	/* A message is a write to memory, by a master of the bus. */
	if (asleep || control & VIO_PCI_MSIX_MASK_ALL || !vio_pci_is_master(p))
		return VIO_PCI_IRQ_MSIX;
	return VIO_PCI_IRQ_MSIX | VIO_PCI_IRQ_SEND;
}

void vio_pci_irq_update(struct vio_pci *p)
{
	uint32_t mode = mode_of(p), old;

	old = __atomic_exchange_n(&p->irq_mode, mode, __ATOMIC_SEQ_CST);
	if ((old ^ mode) & VIO_PCI_IRQ_LINE)
		update_line(p);
	if (!((old ^ mode) & VIO_PCI_IRQ_SEND))
		return;
	for (unsigned i = 0; i < p->nr_vectors; i++)
		vector_changed(p, i);
}

/* Of the function: the table as it is when power comes. */
void vio_pci_irq_reset(struct vio_pci *p)
{
	for (unsigned i = 0; i < p->nr_vectors; i++) {
		struct vio_pci_vector *v = &p->vector[i];

		for (unsigned k = 0; k < 4; k++)
			__atomic_store_n(&v->word[k], k == 3 ?
					 VIO_PCI_MSIX_ENTRY_MASKED : 0u,
					 __ATOMIC_SEQ_CST);
		__atomic_store_n(&v->pending, 0, __ATOMIC_SEQ_CST);
	}
}
