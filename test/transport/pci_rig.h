/* SPDX-License-Identifier: MIT */
/*
 * pci_rig.h - a machine with one PCI function: a disk, an entropy source or a
 * console behind it, memory, and a record of its interrupts. The regions
 * stand where firmware would put them.
 */
#ifndef TEST_TRANSPORT_PCI_RIG_H
#define TEST_TRANSPORT_PCI_RIG_H

#include <vireo/blk.h>
#include <vireo/console.h>
#include <vireo/pci.h>
#include <vireo/rng.h>

#include "vtest.h"

#define RIG_MEM		(1u << 20)
#define RIG_GUEST	0x80000000ull
#define RIG_SIZE	16u
#define RIG_VECTORS	4u
#define RIG_PORTS	0xc080u
#define RIG_MSIX_BAR	0xfe000000ull
#define RIG_REGS_BAR	0x4200000000ull
#define RIG_SHM_BAR	0x5000000000ull
#define RIG_SECTORS	64u

struct pci_rig {
	struct vio_pci p;
	struct vio_pci_queue regs[2];
	struct vio_pci_vector vectors[RIG_VECTORS];
	struct vio_queue queue[2];
	struct vio_mem mem;
	struct vio_region region;
	struct vio_rng rng;
	struct vio_blk blk;
	struct vio_console console;
	struct vio_dev *dev;
	unsigned char disk[RIG_SECTORS * 512];

	bool line;
	unsigned edges;			/* of the line */
	unsigned msi[RIG_VECTORS];	/* messages sent, by vector */
	unsigned changed;		/* vector_changed calls */
	bool asked[2];			/* service was asked for */
	unsigned moves;			/* bar_changed calls */
	uint64_t where[VIO_PCI_NR_BARS];	/* as they said; 0: off */
	bool hold_back;			/* the back end keeps requests */
	struct vio_blk_io *held;

	unsigned char ram[RIG_MEM] __attribute__((aligned(4096)));
	unsigned char storage[2][65536] __attribute__((aligned(64)));
};

extern struct pci_rig rig;
extern const struct vio_pci_conf rig_conf;	/* with vectors */

/* Build it anew. */
void rig_rng(const struct vio_pci_conf *conf);
void rig_blk(const struct vio_pci_conf *conf);
void rig_console(const struct vio_pci_conf *conf);
/* What firmware does: place the regions, switch all on. */
void rig_place(void);
/* Let the held request go on. */
void rig_finish(void);

/* Configuration space. */
uint32_t rig_cfg(unsigned off, unsigned len);
void rig_cfg_put(unsigned off, uint32_t v, unsigned len);
/* The nth capability of this id (and type, if a vendor's); 0: none. */
unsigned rig_cap(unsigned id, unsigned type, unsigned nth);

/* Common configuration, by address, through the place where it is mapped. */
uint32_t rig_common(unsigned off, unsigned len);
void rig_common_put(unsigned off, uint32_t v, unsigned len);
/* Any register of a memory region. */
uint64_t rig_mem(uint64_t addr, unsigned len);
void rig_mem_put(uint64_t addr, uint64_t v, unsigned len);
/* Device configuration, and its notification address of queue @q. */
uint64_t rig_at_device(void);
uint64_t rig_at_notify(unsigned q);
uint64_t rig_at_isr(void);

/* As a driver by hand: status 11, with these feature bits. */
void rig_negotiate(uint32_t low, uint32_t high);
/* Queue @q with its ring of @size entries at guest address @at. */
void rig_enable(unsigned q, uint32_t size, uint64_t at);
/* A vector's message, unmasked. */
void rig_vector(unsigned vector, uint64_t addr, uint32_t data);
void rig_msix_on(void);

#define RIG_V1		(1u << (VIRTIO_F_VERSION_1 - 32))
#define RIG_RESET	(1u << (VIRTIO_F_RING_RESET - 32))

#endif
