/* SPDX-License-Identifier: MIT */
/*
 * vq_packed.c - what the driver's half writes into a packed ring, read word
 * by word by a device with a pencil: every obligation of a driver in 2.8.
 */
#include <vireo/vq.h>
#include <vireo/spec/packed.h>
#include "vtest.h"

#define SIZE	7u		/* no power of two */
#define RING	8192u
#define BASE	0x100000ull

static unsigned char window[RING + 4096] __attribute__((aligned(4096)));
static unsigned char priv[4096] __attribute__((aligned(64)));
static struct vio_vq vq;
static uint16_t at;		/* the device's position */

static void start(bool event_idx, bool in_order, uint16_t indirect)
{
	const struct vio_vq_limits limits = { SIZE, indirect };
	struct vio_features f = { { 1ull << VIRTIO_F_VERSION_1, 0 } };
	struct vio_drv_mem mem = {
		.window = { window, { BASE }, sizeof(window) },
		.shared = { window, RING },
		.priv = { priv, sizeof(priv) },
	};

	memset(window, 0xee, sizeof(window));
	at = 0;
	vio_feature_set(&f, VIRTIO_F_RING_PACKED);
	if (event_idx)
		vio_feature_set(&f, VIRTIO_F_EVENT_IDX);
	if (in_order)
		vio_feature_set(&f, VIRTIO_F_IN_ORDER);
	if (indirect)
		vio_feature_set(&f, VIRTIO_F_INDIRECT_DESC);
	CHECK_EQ(vio_vq_init(&vq, &limits, &f, &mem), VIO_OK);
}

static struct pvirtq_desc *desc(uint16_t pos)
{
	return (struct pvirtq_desc *)(window + (vq.layout.desc.v - BASE)) +
	       pvirtq_off(pos, SIZE);
}

static struct pvirtq_event_suppress *driver_event(void)
{
	return (void *)(window + (vq.layout.driver.v - BASE));
}

static struct pvirtq_event_suppress *device_event(void)
{
	return (void *)(window + (vq.layout.device.v - BASE));
}

static uint16_t flags(uint16_t pos)
{
	return vio_from_le16(desc(pos)->flags);
}

static bool available(uint16_t pos)
{
	bool wrap = pvirtq_wrap(pos, SIZE);

	return !!(flags(pos) & PVIRTQ_DESC_F_AVAIL) == wrap &&
	       !!(flags(pos) & PVIRTQ_DESC_F_USED) != wrap;
}

/* The device answers the list of @nr at its position with @id. */
static void use(uint16_t id, uint32_t len, uint16_t nr)
{
	bool wrap = pvirtq_wrap(at, SIZE);

	desc(at)->id = vio_to_le16(id);
	desc(at)->len = vio_to_le32(len);
	desc(at)->flags = vio_to_le16((wrap ? PVIRTQ_DESC_F_AVAIL |
					      PVIRTQ_DESC_F_USED : 0) |
				      (len ? PVIRTQ_DESC_F_WRITE : 0));
	at = pvirtq_add(at, nr, SIZE);
}

static int add(unsigned rd, unsigned wr)
{
	struct vio_seg seg[2 * SIZE];

	for (unsigned i = 0; i < rd + wr; i++)
		seg[i] = (struct vio_seg){ window + RING + i, 1 };
	return vio_vq_add(&vq, seg, rd, wr, window);
}

TEST("an empty ring: aligned areas, nothing available",
     "packed.driver.packed-virtqueues.1")
{
	start(false, false, 0);
	CHECK_EQ(vq.layout.desc.v % 16, 0);
	CHECK_EQ(vq.layout.driver.v % 4, 0);
	CHECK_EQ(vq.layout.device.v % 4, 0);
	for (uint16_t i = 0; i < SIZE; i++)
		CHECK_EQ(flags(i), 0);
}

TEST("a list: readable before writable, its first descriptor shown last",
     "packed.driver.scatter-gather-support.3 "
     "packed.driver.scatter-gather-support.6")
{
	start(false, false, 0);
	CHECK_EQ(add(2, 1), VIO_OK);
	CHECK(!available(0));		/* not before the publication */
	CHECK(available(1));
	CHECK(available(2));
	vio_vq_publish(&vq);
	CHECK(available(0));
	for (uint16_t i = 0; i < 3; i++) {
		CHECK_EQ(vio_from_le64(desc(i)->addr), BASE + RING + i);
		CHECK_EQ(!!(flags(i) & PVIRTQ_DESC_F_NEXT), i < 2);
		CHECK_EQ(!!(flags(i) & PVIRTQ_DESC_F_WRITE), i == 2);
	}
}

TEST("no list is longer than the ring, or than what is free of it",
     "packed.driver.scatter-gather-support.1 "
     "packed.driver.scatter-gather-support.2 "
     "packed.driver.scatter-gather-support.5 "
     "packed.driver.indirect-descriptors.3")
{
	start(false, false, SIZE);
	CHECK_EQ(add(SIZE, 1), VIO_E_INVAL);
	start(false, false, 0);
	CHECK_EQ(add(SIZE - 1, 0), VIO_OK);
	CHECK_EQ(add(2, 0), VIO_E_NOSPC);
	CHECK(!available(SIZE - 1));
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK_EQ(add(1, 0), VIO_E_NOSPC);
}

TEST("one used descriptor answers a list, and the driver skips the rest",
     "packed.driver.scatter-gather-support.4")
{
	uint32_t len;

	start(false, false, 0);
	for (unsigned i = 0; i < 40; i++) {
		uint16_t nr = 1 + i % 4, last;

		CHECK_EQ(add(nr - 1, 1), VIO_OK);
		vio_vq_publish(&vq);
		CHECK(available(at));
		last = pvirtq_add(at, nr - 1, SIZE);
		use(vio_from_le16(desc(last)->id), 1, nr);
		CHECK(vio_vq_get(&vq, &len) == window);
		CHECK_EQ(len, 1);
	}
}

TEST("behind a list that goes round the end, nothing is read", "")
{
	struct pvirtq_desc *behind;
	struct vio_used u[3];
	uint32_t len;

	start(false, false, 0);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ(add(0, 1), VIO_OK);
		vio_vq_publish(&vq);
		use(vio_from_le16(desc(at)->id), 1, 1);
		CHECK(vio_vq_get(&vq, &len) == window);
	}
	/* At 4; at 5, 6, 0, 1, 2; and at 3, which the device keeps. */
	CHECK_EQ(add(0, 1), VIO_OK);
	CHECK_EQ(add(0, 5), VIO_OK);
	CHECK_EQ(add(0, 1), VIO_OK);
	vio_vq_publish(&vq);
	behind = desc(0) + 10;		/* five behind 5 */
	behind->id = desc(3)->id;
	behind->len = vio_to_le32(1);
	behind->flags = vio_to_le16(PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED);
	use(vio_from_le16(desc(at)->id), 1, 1);
	use(vio_from_le16(desc(2)->id), 1, 5);
	CHECK_EQ(vio_vq_get_many(&vq, u, 3), 2);
	CHECK_EQ(vq.inflight, 1);
	use(vio_from_le16(desc(3)->id), 1, 1);
	CHECK_EQ(vio_vq_get_many(&vq, u, 3), 1);
	CHECK(!vq.broken);
}

TEST("a device that uses what it was not shown is not believed so far", "")
{
	struct vio_used u[2];
	uint32_t len;

	for (unsigned in_order = 0; in_order < 2; in_order++) {
		start(false, in_order, 0);
		CHECK_EQ(add(0, 1), VIO_OK);
		vio_vq_publish(&vq);
		CHECK_EQ(add(0, 1), VIO_OK);
		use(vio_from_le16(desc(at)->id), 1, 1);
		/* Not published, and used all the same. */
		use(vio_from_le16(desc(at)->id), 1, 1);
		CHECK_EQ(vio_vq_get_many(&vq, u, 2), 1);
		CHECK(!vio_vq_pending(&vq));
		CHECK(!vio_vq_get(&vq, &len));
		/* Now it is shown, and the device's again. */
		vio_vq_publish(&vq);
		CHECK(!vio_vq_pending(&vq));
		CHECK_EQ(vq.inflight, 1);
	}
}

TEST("the length counts without WRITE too, which QEMU never sets", "")
{
	uint32_t len = 7;

	start(false, false, 0);
	CHECK_EQ(add(0, 1), VIO_OK);
	vio_vq_publish(&vq);
	use(vio_from_le16(desc(0)->id), 0, 1);
	desc(0)->len = vio_to_le32(1);
	CHECK(vio_vq_get(&vq, &len) == window);
	CHECK_EQ(len, 1);
}

TEST("indirect tables: WRITE alone, never in a list, only if negotiated",
     "packed.driver.indirect-descriptors.1 "
     "packed.driver.indirect-descriptors.2 "
     "packed.driver.indirect-descriptors.4")
{
	struct pvirtq_desc e;
	uint64_t table;

	start(false, false, 4);
	CHECK_EQ(add(2, 2), VIO_OK);
	vio_vq_publish(&vq);
	CHECK_EQ(flags(0), PVIRTQ_DESC_F_INDIRECT | PVIRTQ_DESC_F_AVAIL);
	CHECK_EQ(vio_from_le32(desc(0)->len), 64);
	table = vio_from_le64(desc(0)->addr) - BASE;
	for (unsigned i = 0; i < 4; i++) {
		memcpy(&e, window + table + i * 16, 16);
		CHECK_EQ(vio_from_le16(e.flags),
			 i >= 2 ? PVIRTQ_DESC_F_WRITE : 0);
	}
	start(false, false, 0);
	CHECK_EQ(add(2, 2), VIO_OK);
	for (uint16_t i = 0; i < SIZE; i++)
		CHECK_EQ(flags(i) & PVIRTQ_DESC_F_INDIRECT, 0);
}

TEST("a descriptor is not touched from AVAIL to USED",
     "packed.driver.virtqueue-descriptor-table.1 "
     "packed.driver.virtqueue-descriptor-table.2 core.driver.device-cleanup.1")
{
	struct pvirtq_desc before[2];
	uint32_t len;

	start(false, false, 0);
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK_EQ(add(1, 0), VIO_OK);
	vio_vq_publish(&vq);
	memcpy(before, desc(0), sizeof(before));
	for (unsigned i = 0; i < SIZE - 2; i++) {
		CHECK_EQ(add(1, 0), VIO_OK);
		vio_vq_publish(&vq);
	}
	CHECK_EQ(add(1, 0), VIO_E_NOSPC);
	CHECK(!vio_vq_get(&vq, &len));
	CHECK_MEMEQ(desc(0), before, sizeof(before));
}

TEST("device event suppression decides on kicks",
     "packed.driver.sending-available-buffer-notifications.1")
{
	start(true, false, 0);
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK(vio_vq_publish(&vq));	/* ENABLE */
	device_event()->flags = vio_to_le16(RING_EVENT_FLAGS_DISABLE);
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK(!vio_vq_publish(&vq));
	device_event()->flags = vio_to_le16(RING_EVENT_FLAGS_DESC);
	device_event()->desc = vio_to_le16(0x8000 | 3);
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK(!vio_vq_publish(&vq));
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK(vio_vq_publish(&vq));
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK(!vio_vq_publish(&vq));
	device_event()->desc = vio_to_le16(0x7fff);	/* nonsense: kick */
	CHECK_EQ(add(1, 0), VIO_OK);
	CHECK(vio_vq_publish(&vq));
}

TEST("driver event suppression says what we want", "")
{
	for (unsigned ev = 0; ev < 2; ev++) {
		start(ev, false, 0);
		vio_vq_quiet(&vq);
		CHECK_EQ(vio_from_le16(driver_event()->flags),
			 RING_EVENT_FLAGS_DISABLE);
		CHECK(!vio_vq_listen(&vq));
		CHECK_EQ(vio_from_le16(driver_event()->flags),
			 ev ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE);
		CHECK_EQ(vio_from_le16(driver_event()->desc), 0x8000);
	}
}

TEST("in order: one used descriptor may end a batch", "")
{
	uint32_t len;

	start(false, true, 0);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 3; i++)
			CHECK_EQ(add(1, 1), VIO_OK);
		vio_vq_publish(&vq);
		/* The id of the last of the three, written at the first. */
		use(vio_from_le16(desc(pvirtq_add(at, 5, SIZE))->id), 0, 6);
		for (unsigned i = 0; i < 3; i++) {
			CHECK(vio_vq_get(&vq, &len) == window);
			/* Those skipped count as written completely. */
			CHECK_EQ(len, i < 2 ? 1 : 0);
		}
		CHECK(!vio_vq_get(&vq, &len));
	}
}

TEST("a device that lies breaks the queue, not the driver", "")
{
	uint32_t len;

	start(false, false, 0);
	use(0, 1, 1);				/* nothing was offered */
	CHECK(!vio_vq_get(&vq, &len));
	CHECK(!vq.broken);
	for (unsigned i = 0; i < 2; i++) {
		start(false, false, 0);
		CHECK_EQ(add(0, 1), VIO_OK);
		vio_vq_publish(&vq);
		use(i ? SIZE : 5, 1, 1);	/* no id of ours */
		CHECK(!vio_vq_get(&vq, &len));
		CHECK(vq.broken);
		CHECK_EQ(add(0, 1), VIO_E_PEER);
	}
	start(false, false, 0);
	CHECK_EQ(add(0, 1), VIO_OK);
	vio_vq_publish(&vq);
	use(vio_from_le16(desc(0)->id), 4096, 1);
	CHECK(vio_vq_get(&vq, &len) == window);
	CHECK_EQ(len, 1);			/* clamped */
}
