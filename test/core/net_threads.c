/* SPDX-License-Identifier: MIT */
/*
 * virtio-net whose pairs have threads of their own: packets go on coming in
 * while the driver goes away and comes back. The judge is the thread
 * sanitizer; elsewhere this shows that nothing hangs.
 */
#include <pthread.h>
#include <string.h>

#include "netrig.h"
#include "vtest.h"

static struct netrig n;
static bool enough;

/* The back end of the second pair: a packet of TCP over IPv4, and again. */
static void *bring(void *arg)
{
	static unsigned char bytes[64] = {
		[12] = 8, [14] = 0x45, [17] = 50, [23] = 6,
	};
	struct vio_seg seg = { bytes, sizeof(bytes) };
	const struct vio_net_packet p = {
		.seg = &seg, .nr_seg = 1, .len = sizeof(bytes),
	};

	(void)arg;
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		vio_net_receive(&n.net, 1, &p, 1);
	return NULL;
}

TEST("net: a driver comes back while packets come in on another thread", "")
{
	const uint32_t before = VIRTIO_STATUS_ACKNOWLEDGE |
				VIRTIO_STATUS_DRIVER;
	static const unsigned off[] = {
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
		VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
	};
	static unsigned char state[4096];
	struct vio_features f;
	pthread_t thread;
	uint32_t len;

	netrig_init(&n);
	n.conf.threads = true;
	netrig_start(&n, off, VIO_ARRAY_LEN(off));
	f = n.net.dev.driver;
	len = vio_dev_save(&n.net.dev, state, sizeof(state));
	CHECK_LT(len, sizeof(state));
	vio_dev_reset(&n.net.dev);
	__atomic_store_n(&enough, false, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_create(&thread, NULL, bring, NULL), 0);
	for (unsigned i = 0; i < 500; i++) {
		vio_dev_set_status(&n.net.dev, before);
		CHECK_EQ(vio_dev_set_features(&n.net.dev, &f), VIO_OK);
		vio_dev_set_status(&n.net.dev,
				   before | VIRTIO_STATUS_FEATURES_OK);
		CHECK_EQ(vio_dev_load(&n.net.dev, state, len), VIO_OK);
		vio_dev_set_status(&n.net.dev, 0);
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}
