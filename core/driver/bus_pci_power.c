/* SPDX-License-Identifier: MIT */
/*
 * bus_pci_power.c - a function goes to sleep (D3hot) and wakes (D0). What it
 * forgets of its configuration space meanwhile is put back; whether it still
 * is the device that its driver set up is found out, not believed. It knows
 * no driver and no structure of a virtio device.
 */
#include "core/driver/bus_pci.h"

/* What PCI lets a function take for either way, in microseconds. */
#define CHANGE_US	10000u

/* Looks at a state that does not come before the function counts as stuck. */
#define PATIENCE	100

static uint32_t cfg(const struct vio_bus_pci *b, unsigned off, unsigned len)
{
	return vio_pci_get(b->machine, b->ctx, b->function, off, len);
}

static void cfg_put(const struct vio_bus_pci *b, unsigned off, uint32_t v,
		    unsigned len)
{
	vio_pci_put(b->machine, b->ctx, b->function, off, v, len);
}

/*
 * Only the state is changed: other bits of the register are somebody else's,
 * and one of them (PME_STATUS) is cleared by writing it as it reads.
 */
static int change(const struct vio_bus_pci *b, uint32_t state)
{
	unsigned csr = b->cap_pm + VIO_PCI_PM_CSR;
	uint32_t keep = cfg(b, csr, 2) &
			~(uint32_t)(VIO_PCI_PM_STATE |
				    VIO_PCI_PM_PME_STATUS);

	cfg_put(b, csr, keep | state, 2);
	for (unsigned i = 0; i < PATIENCE; i++) {
		if (b->machine->delay)
			b->machine->delay(b->ctx, CHANGE_US);
		if ((cfg(b, csr, 2) & VIO_PCI_PM_STATE) == state)
			return VIO_OK;
	}
	return VIO_E_IO;
}

static uint32_t bar(const struct vio_bus_pci *b, unsigned i)
{
	return cfg(b, VIO_PCI_BAR + 4 * i, 4);
}

int vio_bus_pci_sleep(struct vio_bus_pci *b)
{
	struct vio_pci_slept *s = &b->slept;
	int err;

	if (!b->cap_pm)
		return VIO_E_UNSUPP;
	if (s->asleep)
		return VIO_E_STATE;
	err = b->ops->get_status(b, &s->status);
	if (err)
		return err;
	s->command = (uint16_t)cfg(b, VIO_PCI_COMMAND, 2);
	s->int_line = (uint8_t)cfg(b, VIO_PCI_INT_LINE, 1);
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++)
		s->bar[i] = bar(b, i);
	err = change(b, VIO_PCI_PM_D3HOT);
	/* One that stays awake for all that is used as before. */
	s->asleep = !err;
	return err;
}

/* Is each register as it was left? */
static bool as_it_was(const struct vio_bus_pci *b)
{
	const struct vio_pci_slept *s = &b->slept;
	bool same = cfg(b, VIO_PCI_COMMAND, 2) == s->command;

	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++)
		same = same && bar(b, i) == s->bar[i];
	return same;
}

/* Regions first; nothing decodes, nor masters the bus, before. */
static void put_back(const struct vio_bus_pci *b)
{
	const struct vio_pci_slept *s = &b->slept;

	cfg_put(b, VIO_PCI_COMMAND, 0, 2);
	for (unsigned i = 0; i < VIO_PCI_NR_BARS; i++)
		cfg_put(b, VIO_PCI_BAR + 4 * i, s->bar[i], 4);
	cfg_put(b, VIO_PCI_INT_LINE, s->int_line, 1);
	cfg_put(b, VIO_PCI_COMMAND, s->command, 2);
}

int vio_bus_pci_wake(struct vio_bus_pci *b, bool *kept)
{
	struct vio_pci_slept *s = &b->slept;
	uint32_t status;
	int err;

	*kept = false;
	if (!s->asleep)
		return VIO_E_STATE;
	err = change(b, 0);
	if (err)
		return err;
	s->asleep = false;
	*kept = cfg(b, b->cap_pm + VIO_PCI_PM_CSR, 2) &
		VIO_PCI_PM_NO_SOFT_RESET && as_it_was(b);
	if (!*kept)
		put_back(b);
	err = b->ops->get_status(b, &status);
	if (err)
		return err;
	*kept = *kept && status == s->status;
	/* The table of messages went with the reset. */
	if (!*kept && b->cap_msix) {
		cfg_put(b, b->cap_msix + VIO_PCI_MSIX_CONTROL, 0, 2);
		b->vectors = 0;
	}
	return VIO_OK;
}
