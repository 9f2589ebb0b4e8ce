/* SPDX-License-Identifier: MIT */
/* The whole machine: see machine.h. */
#include "vmm/machine.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "host/log.h"
#include "vmm/acpi.h"
#include "vmm/slot_mmio.h"
#include "vmm/slot_pci.h"

enum { NOT_YET = -1 };

/* -- the end ------------------------------------------------------------- */

/* The first reason counts. */
static void end(struct machine *m, enum machine_end why)
{
	int expected = NOT_YET;

	if (atomic_compare_exchange_strong(&m->end, &expected, (int)why))
		loop_stop(m->loop);
}

static void on_power(void *ctx, enum power_event event)
{
	end(ctx, event == POWER_OFF ? MACHINE_OFF : MACHINE_RESET);
}

static void on_vcpu_stopped(void *ctx, bool failed)
{
	end(ctx, failed ? MACHINE_FAILED : MACHINE_STOPPED);
}

void machine_stop(struct machine *m)
{
	end(m, MACHINE_STOPPED);
}

static void on_escape(void *ctx)
{
	machine_stop(ctx);
}

void machine_serial(struct machine *m, struct chardev *chr, int fd)
{
	m->line.chr = chr;
	m->line.fd = chr ? -1 : fd;
}

/* -- life cycle ---------------------------------------------------------- */

int machine_open(struct machine *m, const struct machine_conf *conf,
		 struct loop *loop)
{
	int err;

	memset(m, 0, sizeof(*m));
	m->conf = *conf;
	m->loop = loop;
	atomic_store(&m->end, NOT_YET);
	m->ram.fd = -1;
	err = vm_open(&m->vm);
	if (err)
		return err;
	irq_init(&m->irq, &m->vm);
	err = msi_init(&m->msi, &m->vm);
	serial_init(&m->serial, &m->irq, VMM_IRQ_SERIAL);
	line_init(&m->line, &m->serial, loop);
	m->line.escaped = on_escape;
	m->line.ctx = m;
	if (!err)
		err = ram_open(&m->ram, &m->vm, conf->mem);
	if (!err)
		err = bus_add(&m->ports, VMM_PORT_SERIAL, SERIAL_PORTS,
			      &serial_bus, &m->serial);
	if (!err)
		err = power_init(&m->power, &m->ports, on_power, m);
	if (!err)
		err = pci_host_init(&m->pci, &m->mmio, &m->ports);
	if (err)
		machine_close(m);
	return err;
}

static bool is_mmio(const struct machine *m)
{
	return m->conf.transport == MACHINE_MMIO ||
	       m->conf.transport == MACHINE_MMIO_LEGACY;
}

static int open_slot(struct machine *m, struct dev *d, struct slot *s)
{
	static const enum vio_pci_flavour flavours[] = {
		[MACHINE_PCI] = VIO_PCI_MODERN,
		[MACHINE_PCI_TRANSITIONAL] = VIO_PCI_TRANSITIONAL,
		[MACHINE_PCI_LEGACY] = VIO_PCI_LEGACY,
		[MACHINE_MMIO_LEGACY] = VIO_PCI_MODERN,
	};
	const struct slot_mmio_conf mmio = {
		.dev = d, .nr = m->nr_devs, .vm = &m->vm, .bus = &m->mmio,
		.irq = &m->irq, .ram = &m->ram,
		.legacy = m->conf.transport == MACHINE_MMIO_LEGACY,
	};
	const struct slot_pci_conf pci = {
		.dev = d, .nr = m->nr_devs, .vm = &m->vm, .host = &m->pci,
		.irq = &m->irq, .ram = &m->ram, .msi = &m->msi,
		.flavour = flavours[m->conf.transport],
	};

	if (is_mmio(m))
		return slot_mmio_open(&s->mmio, &mmio);
	return slot_pci_open(&s->pci, &pci);
}

int machine_add(struct machine *m, struct dev *d)
{
	int err;

	if (m->nr_devs == VMM_DEVICES_MAX) {
		log_err("at most %u devices", VMM_DEVICES_MAX);
		dev_close(d);
		return -E2BIG;
	}
	if (d->type->modern_only && m->conf.transport != MACHINE_PCI &&
	    m->conf.transport != MACHINE_MMIO) {
		log_err("a %s device cannot serve legacy drivers: take --transport=pci or mmio",
			d->type->name);
		dev_close(d);
		return -ENOTSUP;
	}
	err = open_slot(m, d, &m->slot[m->nr_devs]);
	if (err)
		dev_close(d);
	else
		m->dev[m->nr_devs++] = d;
	return err;
}

static int open_vcpus(struct machine *m, uint64_t entry)
{
	int err = 0;

	m->env = (struct vcpu_env){
		.vm = &m->vm, .mmio = &m->mmio, .ports = &m->ports,
		.cpus = m->conf.cpus, .entry = entry,
		.stopped = on_vcpu_stopped, .ctx = m,
	};
	while (!err && m->nr_vcpus < m->conf.cpus) {
		err = vcpu_open(&m->vcpu[m->nr_vcpus], &m->env, m->nr_vcpus);
		if (!err)
			m->nr_vcpus++;
	}
	return err;
}

const unsigned long machine_ioctls[] = {
	KVM_RUN, KVM_GET_REGS, KVM_IRQ_LINE, KVM_SIGNAL_MSI, KVM_IOEVENTFD,
	KVM_IRQFD, KVM_SET_GSI_ROUTING, 0
};

int machine_load(struct machine *m)
{
	const struct acpi_conf acpi = {
		.cpus = m->conf.cpus,
		.nr_mmio = is_mmio(m) ? m->nr_devs : 0,
		.pci = !is_mmio(m),
	};
	uint64_t entry;
	int err = boot_load(&m->ram, &m->conf.boot, &entry);

	if (!err)
		err = acpi_write(&m->ram, &acpi);
	if (!err)
		err = open_vcpus(m, entry);
	m->loaded = !err;
	return err;
}

static int start(struct machine *m)
{
	int err = line_start(&m->line);

	for (unsigned i = 0; i < m->nr_devs && !err; i++)
		err = dev_start(m->dev[i]);
	for (unsigned i = 0; i < m->nr_vcpus && !err; i++)
		err = vcpu_start(&m->vcpu[i]);
	return err;
}

/* Processors first: a device that stops must not be spoken to. */
static void stop(struct machine *m)
{
	uint64_t mmio = 0, pio = 0;

	for (unsigned i = 0; i < m->nr_vcpus; i++) {
		vcpu_stop(&m->vcpu[i]);
		mmio += m->vcpu[i].stats.mmio;
		pio += m->vcpu[i].stats.pio;
	}
	for (unsigned i = 0; i < m->nr_devs; i++)
		dev_stop(m->dev[i]);
	line_stop(&m->line);
	log_debug("exits to this program: %llu for memory, %llu for ports",
		  (unsigned long long)mmio, (unsigned long long)pio);
}

int machine_run(struct machine *m)
{
	int err = m->loaded ? 0 : machine_load(m);

	if (!err) {
		err = start(m);
		if (!err)
			err = loop_run(m->loop);
		stop(m);
	}
	return err ? err : atomic_load(&m->end);
}

void machine_close(struct machine *m)
{
	while (m->nr_vcpus)
		vcpu_close(&m->vcpu[--m->nr_vcpus]);
	while (m->nr_devs) {
		slot_mmio_close(m->slot[--m->nr_devs].mmio);
		slot_pci_close(m->slot[m->nr_devs].pci);
		dev_close(m->dev[m->nr_devs]);
	}
	pci_host_fini(&m->pci);
	serial_fini(&m->serial);
	msi_fini(&m->msi);
	irq_fini(&m->irq);
	vm_close(&m->vm);
	ram_close(&m->ram);
}
