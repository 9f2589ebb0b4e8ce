/* SPDX-License-Identifier: MIT */
/*
 * vireo/pci.h - the PCI transport's device side (standard: 4.1): any device
 * as a function on a PCI bus. A hypervisor's trap handler or an emulator's
 * bus hands over accesses to configuration space and to the regions behind
 * the base address registers; nothing else is needed.
 *
 * Thread: calls for one device come one at a time. A queue is started and
 * stopped from within them; an embedder that serves queues on other threads
 * keeps these away meanwhile (see dev.h).
 */
#ifndef VIREO_PCI_H
#define VIREO_PCI_H

#include <vireo/dev.h>
#include <vireo/line.h>
#include <vireo/spec/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What the transport asks of the machine around it. The first three are
 * necessary, msi only with vectors.
 */
struct vio_pci_ops {
	/* The level of the INTx line changed. Any thread that works on the
	 * device's queues, one call at a time. */
	void (*intx)(void *ctx, bool level);
	/* Send the message of an MSI-X vector. Any thread that works on the
	 * device's queues; calls may come at the same time. */
	void (*msi)(void *ctx, unsigned vector, uint64_t addr, uint32_t data);
	/*
	 * Call vio_queue_service(@q) soon: the driver notified, or the device
	 * asks for it. May be called from within an access, and from any
	 * thread.
	 */
	void (*serve)(void *ctx, struct vio_queue *q);
	/* A vector's message, or whether it may be sent, changed: see
	 * vio_pci_vector(). NULL: not of interest. */
	void (*vector_changed)(void *ctx, unsigned vector);
	/* A region moved, appeared (@on) or went away. NULL: not of interest,
	 * e.g. because all accesses come by vio_pci_access(). */
	void (*bar_changed)(void *ctx, unsigned bar, uint64_t addr, bool on);
};

/*
 * Which drivers it serves: those since version 1.0 of the standard; also older
 * ones, through a block of ports in BAR 0; or only these. The last two are for
 * the types that had devices then (4.1.2.1).
 */
enum vio_pci_flavour { VIO_PCI_MODERN, VIO_PCI_TRANSITIONAL, VIO_PCI_LEGACY };

struct vio_pci_conf {
	enum vio_pci_flavour flavour;
	uint16_t vectors;	/* MSI-X, to 2048; 0: INTx only. Best is one
				 * more than there are queues. */
	uint16_t subsystem_vendor;	/* 0: as the vendor */
	uint16_t subsystem;	/* 0: 0x40. Modern only: else it is the type */
	uint32_t class_code;	/* 24 bits; 0: as the type has it */
	/* Distance of the queues' notification addresses: a power of two from
	 * 4 to 4096; 0: 4. */
	uint32_t notify_multiplier;
	bool notification_data;	/* offer NOTIFICATION_DATA */
	bool notif_config_data;	/* offer NOTIF_CONFIG_DATA */
	/* Size of BAR 2, a power of two, where dev->shm has regions: their
	 * bases are offsets in it, and the embedder maps them. */
	uint64_t shm_bar_size;
	/* Vendor data, copied into a capability; vendor_id 0: none. */
	uint16_t vendor_id;
	const void *vendor_data;
	uint8_t vendor_len;
};

/* The registers of one queue, as the driver wrote them. */
struct vio_pci_queue {
	uint64_t desc, driver, device;
	uint16_t size;
	uint16_t vector;	/* atomic */
	uint16_t notify_data;	/* queue_notif_config_data; its index, unless
				 * the embedder sets another after init */
	uint16_t next;		/* with NOTIFICATION_DATA: how far the driver
				 * said it was; nothing goes by it */
	bool enabled;
	bool resetting;
};

/* An entry of the MSI-X table, and its pending bit. All atomic. */
struct vio_pci_vector {
	uint32_t word[4];	/* address low, high, data, control */
	uint32_t pending;
};

struct vio_pci_bar {
	uint64_t size;		/* 0: none */
	uint64_t shown;		/* address, as bar_changed said */
	bool on;
};

struct vio_pci {
	struct vio_dev *dev;
	struct vio_mem *mem;
	const struct vio_pci_ops *ops;
	void *ctx;
	struct vio_pci_queue *queue;	/* as many as the device has */
	struct vio_pci_vector *vector;
	uint16_t nr_vectors;
	uint32_t notify_multiplier;

	/* interrupts; all atomic */
	uint16_t config_vector;
	uint32_t isr;
	uint32_t irq_mode;	/* VIO_PCI_IRQ_* of core/transport/pci.h */
	struct vio_line line;

	/* common configuration */
	struct vio_features driver;	/* written, not yet agreed on */
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint16_t queue_select;
	uint8_t generation;
	uint32_t generation_read;	/* of the device, at the last read */

	/* configuration space: its bytes, and the bits a driver may write */
	unsigned char config[256];
	unsigned char writable[256];
	uint8_t cap_msix;	/* offsets of capabilities; 0: none */
	uint8_t cap_af, cap_pm, cap_cfg;
	struct vio_pci_bar bar[VIO_PCI_NR_BARS];
};

/*
 * vio_pci_init() - put a device behind a PCI function. @queue: storage for
 * one entry a queue of @dev; @vector: for conf->vectors entries; @mem: the
 * guest's memory, which outlives the device; @log may be NULL. RING_RESET and
 * SUSPEND are added to what the device offers. Returns VIO_OK, VIO_E_INVAL, or
 * VIO_E_NOSPC if the capabilities do not fit.
 */
int vio_pci_init(struct vio_pci *p, const struct vio_pci_conf *conf,
		 struct vio_dev *dev, struct vio_mem *mem,
		 struct vio_pci_queue *queue, struct vio_pci_vector *vector,
		 const struct vio_pci_ops *ops, void *ctx,
		 const struct vio_log *log);

/* -- accesses ------------------------------------------------------------ */

/*
 * The driver reads or writes @len bytes; values are numbers, not bytes. What
 * no register has reads as 0 and ignores writes. Configuration: 1, 2 or 4
 * bytes at a multiple of that, offsets to 4095. BAR: 1, 2, 4, 8.
 */
uint32_t vio_pci_config_read(struct vio_pci *p, unsigned off, unsigned len);
void vio_pci_config_write(struct vio_pci *p, unsigned off, uint32_t value,
			  unsigned len);
uint64_t vio_pci_bar_read(struct vio_pci *p, unsigned bar, uint64_t off,
			  unsigned len);
void vio_pci_bar_write(struct vio_pci *p, unsigned bar, uint64_t off,
		       uint64_t value, unsigned len);

/*
 * vio_pci_access() - any of them, by address: of configuration space, of the
 * machine's ports, of its memory. False where the device does not answer:
 * it has no region there, or decoding is off.
 */
bool vio_pci_access(struct vio_pci *p, enum vio_pci_space space,
		    uint64_t addr, uint64_t *value, unsigned len, bool write);

/* -- for an embedder that maps and routes --------------------------------- */

/* Where a region is, and how large. False if it is not to be seen now. */
bool vio_pci_bar_where(const struct vio_pci *p, unsigned bar, uint64_t *addr,
		       uint64_t *size);

/*
 * Where queue @index is notified, for an eventfd that takes the write's place
 * (any value, 2 or 4 bytes): BAR and offset within.
 */
void vio_pci_notify_where(const struct vio_pci *p, uint16_t index,
			  unsigned *bar, uint64_t *off);

/*
 * vio_pci_vector() - the message of a vector. False while it may not be sent:
 * who would send it by other ways than ours calls vio_pci_vector_raise()
 * then, which keeps it pending.
 */
bool vio_pci_vector(const struct vio_pci *p, unsigned vector, uint64_t *addr,
		    uint32_t *data);
void vio_pci_vector_raise(struct vio_pci *p, unsigned vector);

/* The vector that a queue's notifications go to; VIRTIO_MSI_NO_VECTOR. */
uint16_t vio_pci_queue_vector(const struct vio_pci *p, uint16_t index);

#ifdef __cplusplus
}
#endif
#endif
