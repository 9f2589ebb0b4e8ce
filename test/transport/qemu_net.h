/* SPDX-License-Identifier: MIT */
/*
 * qemu_net.h - our network driver and QEMU's network device, whatever the bus
 * between them; its wire ends in a socket of ours.
 */
#ifndef TEST_TRANSPORT_QEMU_NET_H
#define TEST_TRANSPORT_QEMU_NET_H

#include <vireo/driver_net.h>

struct qemu_wire {
	int fd;
	char dir[32], ours[48], theirs[48];
	char netdev[256];	/* for QEMU's option -netdev: its id is "n" */
};

void qemu_wire_open(struct qemu_wire *w);
void qemu_wire_close(struct qemu_wire *w);

struct qemu_net {
	const struct vio_bus_ops *ops;
	void *bus;
	struct vio_drv_mem *mem;
	unsigned char *data;		/* shared memory for packets to send */
	uint16_t size;			/* of queues */
	bool packed, merge, framed;	/* what is wanted, and expected */
	int (*wait)(void *ctx);		/* for an interrupt, or a while */
};

/* Packets in both directions, and commands; the device is reset after. */
void qemu_net_use(const struct qemu_net *n, struct qemu_wire *w);

#endif
