/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/pci_legacy.h - the registers of the PCI transport's legacy
 * interface (standard: 4.1.4.10), as offsets in I/O space.
 */
#ifndef VIREO_SPEC_PCI_LEGACY_H
#define VIREO_SPEC_PCI_LEGACY_H

#define VIRTIO_PCI_LEGACY_DEVICE_FEATURES	0	/* 32, read */
#define VIRTIO_PCI_LEGACY_DRIVER_FEATURES	4	/* 32 */
#define VIRTIO_PCI_LEGACY_QUEUE_ADDRESS		8	/* 32: / 4096 */
#define VIRTIO_PCI_LEGACY_QUEUE_SIZE		12	/* 16, read */
#define VIRTIO_PCI_LEGACY_QUEUE_SELECT		14	/* 16 */
#define VIRTIO_PCI_LEGACY_QUEUE_NOTIFY		16	/* 16 */
#define VIRTIO_PCI_LEGACY_DEVICE_STATUS		18	/* 8 */
#define VIRTIO_PCI_LEGACY_ISR_STATUS		19	/* 8, read */
#define VIRTIO_PCI_LEGACY_CONFIG		20
/* with MSI-X enabled */
#define VIRTIO_PCI_LEGACY_CONFIG_MSIX_VECTOR	20	/* 16 */
#define VIRTIO_PCI_LEGACY_QUEUE_MSIX_VECTOR	22	/* 16 */
#define VIRTIO_PCI_LEGACY_CONFIG_MSIX		24

/* Types that have a transitional id, but no device here */
#define VIRTIO_PCI_TYPE_BALLOON		5
#define VIRTIO_PCI_TYPE_SCSI		8
#define VIRTIO_PCI_TYPE_9P		9

#endif
