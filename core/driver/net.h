/* SPDX-License-Identifier: MIT */
/* net.h - what the files of the network driver share. */
#ifndef CORE_DRIVER_NET_H
#define CORE_DRIVER_NET_H

#include <vireo/driver_net.h>

/* Bytes before what a packet carries. */
#define ETH_HDR		14u
#define VLAN_TAG	4u

/* Behind the pairs, of which there is one without MQ. */
#define CTRLQ		2u
/* Before a command's data. */
#define CMD_HDR		((uint32_t)sizeof(struct virtio_net_ctrl_hdr))

/* net_packets.c: give a buffer (back) to the device. */
int vio_netdrv_offer(struct vio_netdrv *net, unsigned pair, void *buffer);

#endif
