/* SPDX-License-Identifier: MIT */
/*
 * A device as a function on the machine's PCI bus. Kicks arrive by ioeventfd
 * wherever the guest has put the region; interrupts leave as messages (MSI-X)
 * or by a line. Knows no type of device.
 */
#ifndef VMM_SLOT_PCI_H
#define VMM_SLOT_PCI_H

#include <vireo/pci.h>

#include "vmm/dev.h"
#include "vmm/irq.h"
#include "vmm/msi.h"
#include "vmm/pci_host.h"
#include "vmm/ram.h"

struct slot_pci;

struct slot_pci_conf {
	struct dev *dev;
	unsigned nr;		/* which of the machine's devices */
	enum vio_pci_flavour flavour;
	struct vm *vm;
	struct pci_host *host;
	struct irq *irq;
	struct ram *ram;
	struct msi *msi;
};

/* 0, or -errno after an error line. Before the processors run. */
int slot_pci_open(struct slot_pci **s, const struct slot_pci_conf *conf);
/* The device has stopped. NULL is fine. */
void slot_pci_close(struct slot_pci *s);

#endif
