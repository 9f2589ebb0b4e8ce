/* SPDX-License-Identifier: MIT */
/* net.h - what the files of the network driver share. */
#ifndef CORE_DRIVER_NET_H
#define CORE_DRIVER_NET_H

#include <vireo/spec/net.h>

/* Behind the pairs, of which there is one without MQ. */
#define CTRLQ		2u
/* Before a command's data. */
#define CMD_HDR		((uint32_t)sizeof(struct virtio_net_ctrl_hdr))

#endif
