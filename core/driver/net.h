/* SPDX-License-Identifier: MIT */
/* net.h - what the files of the network driver share. */
#ifndef CORE_DRIVER_NET_H
#define CORE_DRIVER_NET_H

#include <vireo/driver_net.h>

/* Bytes before what a packet carries. */
#define ETH_HDR		14u
#define VLAN_TAG	4u

/* Before a command's data. */
#define CMD_HDR		((uint32_t)sizeof(struct virtio_net_ctrl_hdr))

/* net_packets.c: give a buffer (back) to the device. */
int vio_netdrv_offer(struct vio_netdrv *net, unsigned pair, void *buffer);

/* What a command answers behind its acknowledgement, at most. */
#define RESULT_MAX	64u

/*
 * net_ctrl.c: as vio_netdrv_command(), with @result_len bytes of an answer;
 * zeroes where the device did not write.
 */
int vio_netdrv_ask(struct vio_netdrv *net, uint8_t class_, uint8_t command,
		   const void *data, uint32_t len, void *result,
		   uint32_t result_len);

#endif
