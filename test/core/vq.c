/* SPDX-License-Identifier: MIT */
/*
 * vq.c - what the driver's half writes into a split ring, read word by word
 * by a device with a pencil: every obligation of a driver in 2.7.
 */
#include <vireo/vq.h>
#include "vtest.h"

#define SIZE	8u
#define RING	8192u		/* bytes for the ring and indirect tables */
#define BASE	0x100000ull	/* guest address of the window */

static unsigned char window[RING + 4096] __attribute__((aligned(4096)));
static unsigned char priv[4096] __attribute__((aligned(64)));
static struct vio_vq vq;

static void start(const unsigned *bits, unsigned nr, uint16_t indirect)
{
	const struct vio_vq_limits limits = { SIZE, indirect };
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1, 0 } };
	struct vio_drv_mem mem = {
		.window = { window, { BASE }, sizeof(window) },
		.shared = { window, RING },
		.priv = { priv, sizeof(priv) },
	};

	memset(window, 0xee, sizeof(window));
	for (unsigned i = 0; i < nr; i++)
		vio_feature_set(&f, bits[i]);
	CHECK_EQ(vio_vq_init(&vq, &limits, &f, &mem), VIO_OK);
}

#define START(indirect, ...)						\
	start((const unsigned[]){ VIRTIO_F_VERSION_1, ##__VA_ARGS__ },	\
	      sizeof((const unsigned[]){ VIRTIO_F_VERSION_1,		\
			##__VA_ARGS__ }) / sizeof(unsigned), indirect)

static struct virtq_desc desc(unsigned i)
{
	struct virtq_desc d;

	memcpy(&d, window + (vq.layout.desc.v - BASE) + i * sizeof(d),
	       sizeof(d));
	return d;
}

static vio_le16 *avail(void)	/* flags, idx, ring, used_event */
{
	return (vio_le16 *)(window + (vq.layout.driver.v - BASE));
}

static vio_le16 *used(void)	/* flags, idx, ring of 4 words, avail_event */
{
	return (vio_le16 *)(window + (vq.layout.device.v - BASE));
}

static unsigned word(const vio_le16 *p)
{
	return vio_from_le16(*p);
}

/* The device uses @head, having written @len. */
static void use(uint32_t head, uint32_t len)
{
	unsigned idx = word(used() + 1);
	struct virtq_used_elem e = { vio_to_le32(head), vio_to_le32(len) };

	memcpy(used() + 2 + 4 * (idx % SIZE), &e, sizeof(e));
	used()[1] = vio_to_le16((uint16_t)(idx + 1));
}

static vio_le16 *avail_event(void)
{
	return used() + 2 + 4 * SIZE;
}

static vio_le16 *used_event(void)
{
	return avail() + 2 + SIZE;
}

/* @rd segments to read and @wr to write, one byte each. */
static int add(unsigned rd, unsigned wr)
{
	struct vio_seg seg[2 * SIZE];

	for (unsigned i = 0; i < rd + wr; i++)
		seg[i] = (struct vio_seg){ window + RING + i, 1 };
	return vio_vq_add(&vq, seg, rd, wr, window);
}

TEST("an empty ring: aligned areas, cleared words",
     "split.driver.virtqueues.1 "
     "split.driver.available-buffer-notification-suppression.1")
{
	START(0);
	CHECK_EQ(vq.layout.desc.v % 16, 0);
	CHECK_EQ(vq.layout.driver.v % 2, 0);
	CHECK_EQ(vq.layout.device.v % 4, 0);
	CHECK_EQ(word(used()), 0);
	CHECK_EQ(word(used() + 1), 0);
	CHECK_EQ(word(avail()), 0);
	CHECK_EQ(word(avail() + 1), 0);
}

TEST("a chain: one descriptor a segment, readable before writable",
     "split.driver.message-framing.1 split.driver.message-framing.2")
{
	unsigned i, n = 0;

	START(0);
	CHECK_EQ(add(3, 2), VIO_OK);
	vio_vq_publish(&vq);
	i = word(avail() + 2);
	for (;; n++) {
		struct virtq_desc d = desc(i);
		uint16_t flags = vio_from_le16(d.flags);

		CHECK_LT(n, 5);
		CHECK_EQ(vio_from_le64(d.addr), BASE + RING + n);
		CHECK_EQ(vio_from_le32(d.len), 1);
		CHECK_EQ(!!(flags & VIRTQ_DESC_F_WRITE), n >= 3);
		if (!(flags & VIRTQ_DESC_F_NEXT))
			break;
		i = vio_from_le16(d.next);
		CHECK_LT(i, SIZE);
	}
	CHECK_EQ(n, 4);
}

TEST("no chain is longer than 2^32 bytes or the queue",
     "split.driver.virtqueue-descriptor-table.1 "
     "split.driver.indirect-descriptors.3")
{
	/* Only the numbers matter: nothing of the window is touched. */
	const struct vio_seg huge[] = { { window + RING, 0xffffffffu },
					{ window + RING, 1 } };

	START(SIZE, VIRTIO_F_INDIRECT_DESC);
	vq.window.size = 1ull << 40;
	CHECK_EQ(vio_vq_add(&vq, huge, 1, 1, window), VIO_E_INVAL);
	CHECK_EQ(add(SIZE, 1), VIO_E_INVAL);
	CHECK_EQ(vio_vq_inflight(&vq), 0);
	CHECK_EQ(add(SIZE, 0), VIO_OK);
}

TEST("in order: descriptors follow each other around the table",
     "split.driver.virtqueue-descriptor-table.2")
{
	uint32_t len;

	START(0, VIRTIO_F_IN_ORDER);
	for (unsigned round = 0; round < 50; round++) {
		unsigned n = 1 + round % 4, head, at;

		CHECK_EQ(add(n, 0), VIO_OK);
		vio_vq_publish(&vq);
		at = head = word(avail() + 2 + round % SIZE);
		for (unsigned i = 0; i + 1 < n; i++) {
			unsigned next = vio_from_le16(desc(at).next);

			CHECK_EQ(next, at == SIZE - 1 ? 0 : at + 1);
			at = next;
		}
		use(head, 0);
		CHECK(vio_vq_get(&vq, &len) == window);
	}
}

TEST("indirect tables: one level, never with NEXT, in sequence",
     "split.driver.indirect-descriptors.2 split.driver.indirect-descriptors.4 "
     "split.driver.indirect-descriptors.5")
{
	struct virtq_desc d, e;
	unsigned char *table;

	START(4, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_IN_ORDER);
	CHECK_EQ(add(2, 2), VIO_OK);
	vio_vq_publish(&vq);
	d = desc(word(avail() + 2));
	CHECK_EQ(vio_from_le16(d.flags), VIRTQ_DESC_F_INDIRECT);
	CHECK_EQ(vio_from_le32(d.len), 4 * sizeof(d));
	table = window + (vio_from_le64(d.addr) - BASE);
	for (unsigned i = 0; i < 4; i++) {
		memcpy(&e, table + i * sizeof(e), sizeof(e));
		CHECK_EQ(vio_from_le16(e.flags),
			 (i >= 2 ? VIRTQ_DESC_F_WRITE : 0) |
			 (i < 3 ? VIRTQ_DESC_F_NEXT : 0));
		if (i < 3)
			CHECK_EQ(vio_from_le16(e.next), i + 1);
	}
}

TEST("without INDIRECT_DESC no descriptor has the flag",
     "split.driver.indirect-descriptors.1")
{
	START(4);
	CHECK_EQ(add(2, 2), VIO_OK);
	for (unsigned i = 0; i < SIZE; i++)
		CHECK_EQ(vio_from_le16(desc(i).flags) & VIRTQ_DESC_F_INDIRECT,
			 0);
}

TEST("the index moves forward, with the publication and not before",
     "split.driver.virtqueue-available-ring.1 "
     "split.other.updating-available-ring.2")
{
	uint32_t len;
	uint16_t seen = 0;

	START(0);
	for (unsigned i = 0; i < 70000; i++) {
		unsigned n = 1 + i % 3;

		for (unsigned k = 0; k < n; k++) {
			CHECK_EQ(add(1, 0), VIO_OK);
			CHECK_EQ(word(avail() + 1), seen);
		}
		vio_vq_publish(&vq);
		seen = (uint16_t)(seen + n);
		CHECK_EQ(word(avail() + 1), seen);
		for (unsigned k = n; k; k--)
			use(word(avail() + 2 + (uint16_t)(seen - k) % SIZE),
			    0);
		while (vio_vq_get(&vq, &len))
			;
		CHECK_EQ(vio_vq_inflight(&vq), 0);
	}
}

TEST("flags ask for quiet, without the event index",
     "split.driver.used-buffer-notification-suppression.1 "
     "split.driver.used-buffer-notification-suppression.2")
{
	START(0);
	vio_vq_quiet(&vq);
	CHECK_EQ(word(avail()), 1);
	CHECK(!vio_vq_listen(&vq));
	CHECK_EQ(word(avail()), 0);
}

TEST("used_event asks, with the event index, and flags stay 0",
     "split.driver.used-buffer-notification-suppression.3 "
     "split.driver.used-buffer-notification-suppression.4")
{
	uint32_t len;

	START(0, VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 5; i++) {
		CHECK(!vio_vq_listen(&vq));
		CHECK_EQ(word(used_event()), i);
		CHECK_EQ(word(avail()), 0);
		vio_vq_quiet(&vq);
		CHECK_NE(word(used_event()), i);
		CHECK_EQ(word(avail()), 0);
		CHECK_EQ(add(1, 0), VIO_OK);
		vio_vq_publish(&vq);
		use(word(avail() + 2 + i), 0);
		CHECK(vio_vq_get(&vq, &len) != NULL);
	}
}

TEST("a notification for nothing is nothing",
     "split.driver.used-buffer-notification-suppression.5")
{
	uint32_t len;

	START(0);
	CHECK_EQ(add(1, 0), VIO_OK);
	vio_vq_publish(&vq);
	CHECK(!vio_vq_get(&vq, &len));
	CHECK(!vio_vq_pending(&vq));
	CHECK(!vq.broken);
}

TEST("the device's flags decide on kicks, without the event index",
     "split.driver.available-buffer-notification-suppression.2 "
     "split.driver.available-buffer-notification-suppression.3 "
     "split.driver.available-buffer-notification-suppression.4")
{
	START(0);
	*avail_event() = vio_to_le16(100);	/* means nothing here */
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK(vio_vq_publish(&vq));
	used()[0] = vio_to_le16(VIRTQ_USED_F_NO_NOTIFY);
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK(!vio_vq_publish(&vq));
}

TEST("crossing avail_event decides, with the event index; flags do not",
     "split.driver.available-buffer-notification-suppression.5 "
     "split.driver.available-buffer-notification-suppression.6 "
     "split.driver.available-buffer-notification-suppression.7")
{
	START(0, VIRTIO_F_EVENT_IDX);
	used()[0] = vio_to_le16(VIRTQ_USED_F_NO_NOTIFY);
	*avail_event() = vio_to_le16(2);
	for (unsigned i = 0; i < 6; i++) {
		CHECK_EQ(add(1, 0), VIO_OK);
		CHECK_EQ(vio_vq_publish(&vq), i == 2);
	}
}

TEST("buffers are not altered while the device has them",
     "core.driver.device-cleanup.1")
{
	unsigned char before[SIZE * 16];
	uint32_t len;

	START(0);
	CHECK_EQ(add(2, 0), VIO_OK);
	vio_vq_publish(&vq);
	memcpy(before, window + (vq.layout.desc.v - BASE), sizeof(before));
	for (unsigned i = 0; i < 30; i++) {
		CHECK_EQ(add(1, 1), VIO_OK);
		vio_vq_publish(&vq);
		use(word(avail() + 2 + (1 + i) % SIZE), 0);
		CHECK(vio_vq_get(&vq, &len) != NULL);
		/* The first chain took entries 0 and 1. */
		CHECK_MEMEQ(window + (vq.layout.desc.v - BASE), before, 32);
	}
}
