/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/pci.h - the PCI transport (standard: 4.1): identities,
 * capabilities and register offsets in its spelling, and with the prefix
 * VIO_PCI_ the few registers of PCI itself that a virtio function needs.
 */
#ifndef VIREO_SPEC_PCI_H
#define VIREO_SPEC_PCI_H

/* -- identity (4.1.2) ---------------------------------------------------- */

#define VIRTIO_PCI_VENDOR_ID		0x1af4
#define VIRTIO_PCI_ID_BASE		0x1040	/* + VIRTIO_ID_* */
#define VIRTIO_PCI_ID_FIRST		0x1000
#define VIRTIO_PCI_ID_LAST		0x107f
#define VIRTIO_PCI_ID_MODERN		0x1040	/* from here on: modern */

/* -- structures (4.1.4) -------------------------------------------------- */

/* cfg_type */
#define VIRTIO_PCI_CAP_COMMON_CFG	1
#define VIRTIO_PCI_CAP_NOTIFY_CFG	2
#define VIRTIO_PCI_CAP_ISR_CFG		3
#define VIRTIO_PCI_CAP_DEVICE_CFG	4
#define VIRTIO_PCI_CAP_PCI_CFG		5
#define VIRTIO_PCI_CAP_SHARED_MEMORY_CFG	8
#define VIRTIO_PCI_CAP_VENDOR_CFG	9

/* struct virtio_pci_cap, and what follows it, as offsets */
#define VIRTIO_PCI_CAP_VNDR		0	/* u8 */
#define VIRTIO_PCI_CAP_NEXT		1	/* u8 */
#define VIRTIO_PCI_CAP_LEN		2	/* u8 */
#define VIRTIO_PCI_CAP_CFG_TYPE		3	/* u8 */
#define VIRTIO_PCI_CAP_BAR		4	/* u8 */
#define VIRTIO_PCI_CAP_ID		5	/* u8 */
#define VIRTIO_PCI_CAP_OFFSET		8	/* le32 */
#define VIRTIO_PCI_CAP_LENGTH		12	/* le32 */
#define VIRTIO_PCI_CAP_SIZE		16
#define VIRTIO_PCI_NOTIFY_CAP_MULT	16	/* le32 */
#define VIRTIO_PCI_NOTIFY_CAP_SIZE	20
#define VIRTIO_PCI_CFG_CAP_DATA		16	/* u8[4] */
#define VIRTIO_PCI_CFG_CAP_SIZE		20
#define VIRTIO_PCI_CAP64_OFFSET_HI	16	/* le32 */
#define VIRTIO_PCI_CAP64_LENGTH_HI	20	/* le32 */
#define VIRTIO_PCI_CAP64_SIZE		24
#define VIRTIO_PCI_VNDR_VENDOR_ID	4	/* le16 */
#define VIRTIO_PCI_VNDR_DATA		6
#define VIRTIO_PCI_CAP_BAR_MAX		5	/* above: reserved */

/* struct virtio_pci_common_cfg (4.1.4.3) */
#define VIRTIO_PCI_COMMON_DEVICE_FEATURE_SELECT	0x00	/* le32 */
#define VIRTIO_PCI_COMMON_DEVICE_FEATURE	0x04	/* le32 */
#define VIRTIO_PCI_COMMON_DRIVER_FEATURE_SELECT	0x08	/* le32 */
#define VIRTIO_PCI_COMMON_DRIVER_FEATURE	0x0c	/* le32 */
#define VIRTIO_PCI_COMMON_CONFIG_MSIX_VECTOR	0x10	/* le16 */
#define VIRTIO_PCI_COMMON_NUM_QUEUES		0x12	/* le16 */
#define VIRTIO_PCI_COMMON_DEVICE_STATUS		0x14	/* u8 */
#define VIRTIO_PCI_COMMON_CONFIG_GENERATION	0x15	/* u8 */
#define VIRTIO_PCI_COMMON_QUEUE_SELECT		0x16	/* le16 */
#define VIRTIO_PCI_COMMON_QUEUE_SIZE		0x18	/* le16 */
#define VIRTIO_PCI_COMMON_QUEUE_MSIX_VECTOR	0x1a	/* le16 */
#define VIRTIO_PCI_COMMON_QUEUE_ENABLE		0x1c	/* le16 */
#define VIRTIO_PCI_COMMON_QUEUE_NOTIFY_OFF	0x1e	/* le16 */
#define VIRTIO_PCI_COMMON_QUEUE_DESC		0x20	/* le64 */
#define VIRTIO_PCI_COMMON_QUEUE_DRIVER		0x28	/* le64 */
#define VIRTIO_PCI_COMMON_QUEUE_DEVICE		0x30	/* le64 */
#define VIRTIO_PCI_COMMON_QUEUE_NOTIF_CONFIG_DATA	0x38	/* le16 */
#define VIRTIO_PCI_COMMON_QUEUE_RESET		0x3a	/* le16 */
#define VIRTIO_PCI_COMMON_ADMIN_QUEUE_INDEX	0x3c	/* le16 */
#define VIRTIO_PCI_COMMON_ADMIN_QUEUE_NUM	0x3e	/* le16 */
#define VIRTIO_PCI_COMMON_SIZE			0x40

/* ISR status (4.1.4.5) */
#define VIRTIO_PCI_ISR_QUEUE		1
#define VIRTIO_PCI_ISR_CONFIG		2

#define VIRTIO_MSI_NO_VECTOR		0xffff

/* -- PCI itself ---------------------------------------------------------- */

enum vio_pci_space { VIO_PCI_CONFIG, VIO_PCI_IO, VIO_PCI_MEM };

#define VIO_PCI_VENDOR			0x00	/* 16 */
#define VIO_PCI_DEVICE			0x02	/* 16 */
#define VIO_PCI_COMMAND			0x04	/* 16 */
#define VIO_PCI_COMMAND_IO		0x001
#define VIO_PCI_COMMAND_MEM		0x002
#define VIO_PCI_COMMAND_MASTER		0x004
#define VIO_PCI_COMMAND_NO_INTX		0x400
#define VIO_PCI_STATUS			0x06	/* 16 */
#define VIO_PCI_STATUS_INTX		0x008
#define VIO_PCI_STATUS_CAPS		0x010
#define VIO_PCI_REVISION		0x08	/* 8 */
#define VIO_PCI_CLASS			0x09	/* 24 */
#define VIO_PCI_CACHE_LINE		0x0c	/* 8 */
#define VIO_PCI_HEADER			0x0e	/* 8; bit 7: more functions */
#define VIO_PCI_BAR			0x10	/* 32, six of them */
#define VIO_PCI_BAR_IO			0x1
#define VIO_PCI_BAR_64			0x4
#define VIO_PCI_BAR_PREFETCH		0x8
#define VIO_PCI_BAR_IO_FLAGS		0x3u
#define VIO_PCI_BAR_MEM_FLAGS		0xfu
#define VIO_PCI_SUBSYS_VENDOR		0x2c	/* 16 */
#define VIO_PCI_SUBSYS			0x2e	/* 16 */
#define VIO_PCI_CAP_PTR			0x34	/* 8 */
#define VIO_PCI_INT_LINE		0x3c	/* 8 */
#define VIO_PCI_INT_PIN			0x3d	/* 8 */
#define VIO_PCI_NR_BARS			6

/* Capability ids */
#define VIO_PCI_CAP_PM			0x01
#define VIO_PCI_CAP_VENDOR		0x09
#define VIO_PCI_CAP_MSIX		0x11
#define VIO_PCI_CAP_AF			0x13

/* Power management, as offsets from its capability */
#define VIO_PCI_PM_CAPS			2	/* 16 */
#define VIO_PCI_PM_CSR			4	/* 16 */
#define VIO_PCI_PM_NO_SOFT_RESET	0x8
#define VIO_PCI_PM_STATE		0x3
#define VIO_PCI_PM_PME_STATUS		0x8000	/* cleared by writing 1 */
#define VIO_PCI_PM_D3HOT		3
#define VIO_PCI_PM_SIZE			8

/* MSI-X */
#define VIO_PCI_MSIX_CONTROL		2	/* 16 */
#define VIO_PCI_MSIX_SIZE_MASK		0x07ff	/* vectors - 1 */
#define VIO_PCI_MSIX_MASK_ALL		0x4000
#define VIO_PCI_MSIX_ENABLE		0x8000
#define VIO_PCI_MSIX_TABLE		4	/* 32: offset | BAR */
#define VIO_PCI_MSIX_PBA		8	/* 32: offset | BAR */
#define VIO_PCI_MSIX_BAR		0x7u
#define VIO_PCI_MSIX_SIZE		12
#define VIO_PCI_MSIX_VECTORS_MAX	2048
#define VIO_PCI_MSIX_ENTRY		16	/* bytes of a table's entry */
#define VIO_PCI_MSIX_ENTRY_MASKED	0x1	/* of its last 32 bits */

/* Advanced features: reset of a function that is not PCI Express */
#define VIO_PCI_AF_LENGTH		2	/* 8 */
#define VIO_PCI_AF_CAPS			3	/* 8: bit 0 TP, bit 1 FLR */
#define VIO_PCI_AF_CONTROL		4	/* 8: bit 0 starts it */
#define VIO_PCI_AF_STATUS		5	/* 8: bit 0: not through yet */
#define VIO_PCI_AF_SIZE			8

#endif
