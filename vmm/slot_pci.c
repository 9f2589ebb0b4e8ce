/* SPDX-License-Identifier: MIT */
/* A device as a PCI function: see slot_pci.h. */
#include "vmm/slot_pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vireo/spec/pci_legacy.h>

#include "host/log.h"

enum { LEGACY_BAR = 0 };

struct slot_pci {
	struct slot_pci_conf conf;
	struct vio_pci pci;
	struct vio_pci_queue *queue;
	struct vio_pci_vector *vector;
	struct irq_line line;
	struct msi_line *direct;	/* a queue each */
	unsigned slot;
	/* Where the regions are that have eventfds in place. */
	struct {
		bool on;
		uint64_t at;
	} modern, legacy;
	unsigned modern_bar;
	struct log_rate rate;
};

/* -- what the function asks for ------------------------------------------ */

static void on_intx(void *ctx, bool level)
{
	struct slot_pci *s = ctx;

	irq_set(s->conf.irq, &s->line, level);
}

static void on_msi(void *ctx, unsigned vector, uint64_t addr, uint32_t data)
{
	struct slot_pci *s = ctx;

	(void)vector;
	vm_msi(s->conf.vm, addr, data);
}

static void on_serve(void *ctx, struct vio_queue *q)
{
	struct slot_pci *s = ctx;

	dev_kick(s->conf.dev, q->index);
}

/* A store of any width and value at a queue's address is its kick. */
static struct vm_store modern_kick(const struct slot_pci *s, unsigned queue)
{
	unsigned bar;
	uint64_t off;

	vio_pci_notify_where(&s->pci, (uint16_t)queue, &bar, &off);
	return (struct vm_store){ .addr = s->modern.at + off };
}

/* All queues have one port, and the value says which it is. */
static struct vm_store legacy_kick(const struct slot_pci *s, unsigned queue)
{
	return (struct vm_store){
		.addr = s->legacy.at + VIRTIO_PCI_LEGACY_QUEUE_NOTIFY,
		.len = 2, .port = true, .match = true, .value = queue,
	};
}

static void set_kicks(struct slot_pci *s, bool legacy, bool on)
{
	const struct dev *d = s->conf.dev;

	for (unsigned i = 0; i < d->vio->nr_queues; i++) {
		const struct vm_store store = legacy ? legacy_kick(s, i) :
						       modern_kick(s, i);
		int err = vm_ioeventfd(s->conf.vm, &store, d->queue[i].kick,
				       on);

		/* It works without: by an exit to this program. A guest may
		 * put two regions into one place, again and again. */
		if (err && on)
			log_limited(&s->rate, LOG_LEVEL_WARN,
				    "queue %u has no eventfd: %s", i,
				    strerror(-err));
	}
}

static void move_modern(struct slot_pci *s, uint64_t addr, bool on)
{
	if (s->modern.on)
		set_kicks(s, false, false);
	s->modern.at = addr;
	s->modern.on = on;
	if (on)
		set_kicks(s, false, true);
}

static void move_legacy(struct slot_pci *s, uint64_t addr, bool on)
{
	if (s->legacy.on)
		set_kicks(s, true, false);
	s->legacy.at = addr;
	s->legacy.on = on;
	if (on)
		set_kicks(s, true, true);
}

static void on_bar(void *ctx, unsigned bar, uint64_t addr, bool on)
{
	struct slot_pci *s = ctx;
	bool port = s->conf.flavour != VIO_PCI_MODERN && bar == LEGACY_BAR;

	pci_region(s->conf.host, s->slot, bar, port, addr,
		   on ? s->pci.bar[bar].size : 0);
	if (port)
		move_legacy(s, addr, on);
	else if (bar == s->modern_bar && s->conf.flavour != VIO_PCI_LEGACY)
		move_modern(s, addr, on);
}

static void on_vector(void *ctx, unsigned vector)
{
	struct slot_pci *s = ctx;
	struct dev *d = s->conf.dev;

	(void)vector;
	if (d->type->rerouted)
		d->type->rerouted(d);
}

/* While a queue's message may be sent, KVM sends it. */
static bool direct(void *ctx, unsigned queue, int fd)
{
	struct slot_pci *s = ctx;
	struct msi_line *line = &s->direct[queue];
	uint16_t vector = vio_pci_queue_vector(&s->pci, (uint16_t)queue);
	uint64_t addr;
	uint32_t data;

	if (fd >= 0 && vector != VIRTIO_MSI_NO_VECTOR &&
	    vio_pci_vector(&s->pci, vector, &addr, &data) &&
	    !msi_bind(s->conf.msi, line, fd, addr, data))
		return true;
	msi_unbind(s->conf.msi, line);
	return false;
}

static const struct vio_pci_ops ops = {
	.intx = on_intx, .msi = on_msi, .serve = on_serve,
	.bar_changed = on_bar, .vector_changed = on_vector,
};

/* -- accesses, each on the device's thread ------------------------------- */

struct access {
	struct slot_pci *slot;
	unsigned bar;
	uint64_t off, value;
	unsigned len;
};

static void config_read_here(void *arg)
{
	struct access *a = arg;

	a->value = vio_pci_config_read(&a->slot->pci, (unsigned)a->off,
				       a->len);
}

static void config_write_here(void *arg)
{
	struct access *a = arg;

	vio_pci_config_write(&a->slot->pci, (unsigned)a->off,
			     (uint32_t)a->value, a->len);
}

static void bar_read_here(void *arg)
{
	struct access *a = arg;

	a->value = vio_pci_bar_read(&a->slot->pci, a->bar, a->off, a->len);
}

static void bar_write_here(void *arg)
{
	struct access *a = arg;

	vio_pci_bar_write(&a->slot->pci, a->bar, a->off, a->value, a->len);
}

static uint32_t config_read(void *ctx, unsigned off, unsigned len)
{
	struct access a = { .slot = ctx, .off = off, .len = len };

	dev_run(a.slot->conf.dev, config_read_here, &a);
	return (uint32_t)a.value;
}

static void config_write(void *ctx, unsigned off, uint32_t value,
			 unsigned len)
{
	struct access a = {
		.slot = ctx, .off = off, .value = value, .len = len,
	};

	dev_run(a.slot->conf.dev, config_write_here, &a);
}

static uint64_t bar_read(void *ctx, unsigned bar, uint64_t off, unsigned len)
{
	struct access a = {
		.slot = ctx, .bar = bar, .off = off, .len = len,
	};

	dev_run(a.slot->conf.dev, bar_read_here, &a);
	return a.value;
}

static void bar_write(void *ctx, unsigned bar, uint64_t off, uint64_t value,
		      unsigned len)
{
	struct access a = { ctx, bar, off, value, len };

	dev_run(a.slot->conf.dev, bar_write_here, &a);
}

static const struct pci_function function = {
	config_read, config_write, bar_read, bar_write,
};

/* -- life cycle ---------------------------------------------------------- */

static int make(struct slot_pci *s)
{
	const struct vio_log log = { log_core, NULL };
	struct vio_dev *vio = s->conf.dev->vio;
	/* A message for each queue, and one for changes of configuration. */
	const struct vio_pci_conf conf = {
		.flavour = s->conf.flavour,
		.vectors = (uint16_t)(vio->nr_queues + 1),
	};
	uint64_t off;

	s->queue = calloc(vio->nr_queues, sizeof(*s->queue));
	s->vector = calloc(conf.vectors, sizeof(*s->vector));
	s->direct = calloc(vio->nr_queues, sizeof(*s->direct));
	if (!s->queue || !s->vector || !s->direct)
		return -ENOMEM;
	if (vio_pci_init(&s->pci, &conf, vio, &s->conf.ram->mem, s->queue,
			 s->vector, &ops, s, &log)) {
		log_err("the %s device cannot be a PCI function%s",
			s->conf.dev->type->name,
			conf.flavour == VIO_PCI_MODERN ? "" :
			" for legacy drivers: none of that type was there then");
		return -EINVAL;
	}
	dev_withhold(s->conf.dev);
	s->conf.dev->direct = direct;
	s->conf.dev->direct_ctx = s;
	vio_pci_notify_where(&s->pci, 0, &s->modern_bar, &off);
	return pci_host_add(s->conf.host, &function, s, s->line.gsi,
			    &s->slot);
}

int slot_pci_open(struct slot_pci **out, const struct slot_pci_conf *conf)
{
	struct slot_pci *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	s->conf = *conf;
	s->line.gsi = irq_of_device(conf->nr);
	err = make(s);
	if (err)
		slot_pci_close(s);
	else
		*out = s;
	return err;
}

void slot_pci_close(struct slot_pci *s)
{
	if (!s)
		return;
	move_modern(s, 0, false);
	move_legacy(s, 0, false);
	for (unsigned i = 0; s->direct && i < s->conf.dev->vio->nr_queues; i++)
		msi_unbind(s->conf.msi, &s->direct[i]);
	s->conf.dev->direct = NULL;
	free(s->direct);
	free(s->queue);
	free(s->vector);
	free(s);
}
