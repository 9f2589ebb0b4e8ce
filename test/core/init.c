/* SPDX-License-Identifier: MIT */
/*
 * init.c - how a driver meets its device: every obligation of 2.1, 2.2, 2.4,
 * 2.5 and 3.1, seen by a bus that keeps a diary.
 */
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>
#include <vireo/driver_net.h>
#include "vtest.h"

enum what { STATUS, GET_STATUS, GET_FEATURES, SET_FEATURES, CONFIG_READ,
	    CONFIG_WRITE, QUEUE, NOTIFY };

static struct {
	struct { enum what what; uint64_t value; } diary[256];
	unsigned nr;
	uint32_t status;
	struct vio_features offered, accepted;
	bool refuse;		/* FEATURES_OK does not stick */
	unsigned slow_reset;	/* reads of status before it is 0 */
	unsigned generation, changes;
	unsigned char config[96];
	uint16_t queues;
	/* The fields of a type; the last has no length */
	const struct field { uint16_t at, len; uint8_t bit[2]; } *fields;
	unsigned waits;
} b;

static void note(enum what what, uint64_t value)
{
	CHECK_LT(b.nr, 256);
	b.diary[b.nr].what = what;
	b.diary[b.nr++].value = value;
}

static int get_status(void *bus, uint32_t *status)
{
	(void)bus;
	note(GET_STATUS, 0);
	*status = b.status;
	if (!b.status && b.slow_reset) {
		b.slow_reset--;
		*status = 15;
	}
	return VIO_OK;
}

static int set_status(void *bus, uint32_t status)
{
	(void)bus;
	note(STATUS, status);
	b.status = status;
	if (b.refuse)
		b.status &= ~(uint32_t)VIRTIO_STATUS_FEATURES_OK;
	return VIO_OK;
}

static int get_features(void *bus, struct vio_features *f)
{
	(void)bus;
	note(GET_FEATURES, 0);
	*f = b.offered;
	return VIO_OK;
}

static int set_features(void *bus, const struct vio_features *f)
{
	(void)bus;
	note(SET_FEATURES, f->w[0]);
	b.accepted = *f;
	return VIO_OK;
}

static int generation(void *bus, uint32_t *g)
{
	(void)bus;
	*g = b.generation;
	return VIO_OK;
}

#define ALWAYS	127u	/* set_of() offers it */

/* Was one of the features offered that the field needs? */
static bool is_there(uint32_t off)
{
	const struct field *f = b.fields;

	while (f->len && off - f->at >= f->len)
		f++;
	return f->len && (f->bit[0] == ALWAYS ||
			  vio_has(&b.offered, f->bit[0]) ||
			  (f->bit[1] && vio_has(&b.offered, f->bit[1])));
}

/* While changes last, each read finds the device in the middle of one. */
static int config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	(void)bus;
	note(CONFIG_READ, off);
	CHECK_LE(off + len, sizeof(b.config));
	for (uint32_t i = 0; b.fields && i < len; i++)
		if (!is_there(off + i))
			FAIL("byte %u is read without its feature", off + i);
	memcpy(dst, b.config + off, len);
	if (b.changes) {
		b.changes--;
		b.generation++;
		memset(b.config, (int)b.generation, sizeof(b.config));
	}
	return VIO_OK;
}

static int config_write(void *bus, uint32_t off, const void *src, uint32_t len)
{
	(void)bus;
	(void)src;
	(void)len;
	note(CONFIG_WRITE, off);
	return VIO_OK;
}

static int queue_max(void *bus, uint16_t index, uint16_t *size)
{
	(void)bus;
	*size = index < b.queues ? 8 : 0;
	return VIO_OK;
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *layout)
{
	(void)bus;
	note(QUEUE, index);
	CHECK_LE(layout->size, 8);
	return VIO_OK;
}

static void notify(void *bus, uint16_t index, uint16_t next)
{
	(void)bus;
	(void)next;
	note(NOTIFY, index);
}

static int wait(void *bus, uint16_t index)
{
	(void)bus;
	(void)index;
	return b.waits++ < 1000 ? VIO_OK : VIO_E_IO;
}

static const struct vio_bus_ops bus = {
	.get_status = get_status, .set_status = set_status,
	.get_features = get_features, .set_features = set_features,
	.generation = generation, .config_read = config_read,
	.config_write = config_write, .queue_max = queue_max,
	.queue_start = queue_start, .notify = notify, .wait = wait };

static unsigned char window[65536] __attribute__((aligned(4096)));
static unsigned char priv[65536] __attribute__((aligned(64)));
static struct vio_drv drv;
static struct vio_vq vq;

static struct vio_features set_of(uint64_t low, uint64_t high)
{
	return (struct vio_features){
		{ low | 1ull << VIRTIO_F_VERSION_1, high } };
}

static int begin(uint64_t wanted)
{
	struct vio_features f = set_of(wanted, 0);

	return vio_drv_begin(&drv, &bus, &b, &f);
}

static void fresh(uint64_t low, uint64_t high)
{
	memset(&b, 0, sizeof(b));
	b.offered = set_of(low, high);
	b.status = 15;		/* an earlier life's */
	b.queues = 1;
}

static struct vio_drv_mem memory(void)
{
	return (struct vio_drv_mem){
		.window = { window, { 0x1000 }, sizeof(window) },
		.shared = { window, sizeof(window) },
		.priv = { priv, sizeof(priv) },
	};
}

static int make_queue(uint16_t index)
{
	const struct vio_vq_limits limits = { 64, 0 };
	struct vio_drv_mem mem = memory();

	return vio_drv_queue(&drv, index, &vq, &limits, &mem);
}

TEST("the sequence of initialisation, and no bit is ever cleared",
     "core.driver.device-initialization.1 core.driver.device-status-field.1 "
     "core.driver.device-status-field.2 core.driver.device-initialization.6 "
     "core.driver.device-initialization.3")
{
	static const uint32_t want[] = { 0, 1, 3, 11, 15 };
	unsigned n = 0, features_at = 0, queue_at = 0, reads_after = 0;

	fresh(0, 0);
	CHECK_EQ(begin(0), VIO_OK);
	CHECK_EQ(make_queue(0), VIO_OK);
	CHECK_EQ(vio_drv_ready(&drv), VIO_OK);
	for (unsigned i = 0; i < b.nr; i++) {
		switch (b.diary[i].what) {
		case STATUS:
			CHECK_LT(n, 5);
			CHECK_EQ(b.diary[i].value, want[n]);
			n++;
			break;
		case SET_FEATURES:
			CHECK_EQ(n, 3);		/* after DRIVER, before OK */
			features_at++;
			break;
		case GET_STATUS:
			reads_after += n == 4;	/* FEATURES_OK re-read */
			break;
		case QUEUE:
			CHECK_EQ(n, 4);
			queue_at = i;
			break;
		default:
			CHECK_NE(b.diary[i].what, NOTIFY);
			CHECK_NE(b.diary[i].what, CONFIG_WRITE);
		}
	}
	CHECK_EQ(n, 5);
	CHECK_EQ(features_at, 1);
	CHECK_GE(reads_after, 1);
	CHECK_GT(queue_at, 0);
}

TEST("features: what was offered and is wanted, nothing else",
     "core.driver.feature-bits.1 core.driver.feature-bits.3 "
     "core.driver.feature-bits.5 core.driver.reserved-feature-bits.1 "
     "core.driver.reserved-feature-bits.5 "
     "core.driver.reserved-feature-bits.9")
{
	const uint64_t packed = 1ull << VIRTIO_F_RING_PACKED;
	const uint64_t v1 = 1ull << VIRTIO_F_VERSION_1;

	/* Offered: bits 1, 3, one reserved, some of tomorrow's. */
	fresh(0xa | packed | 1ull << 25 | 1ull << 49, ~0ull);
	CHECK_EQ(begin(0x6 | packed), VIO_OK);
	CHECK_EQ(b.accepted.w[0], 0x2 | packed | v1);
	CHECK_EQ(b.accepted.w[1], 0);
	CHECK(vio_drv_has(&drv, 1));
	CHECK(!vio_drv_has(&drv, 2));
	CHECK(!vio_drv_has(&drv, 3));
	/* Virtual functions are none of what a bus here can carry. */
	fresh(1ull << VIRTIO_F_SR_IOV, 0);
	CHECK_EQ(begin(1ull << VIRTIO_F_SR_IOV), VIO_OK);
	CHECK_EQ(b.accepted.w[0], v1);
	/* VERSION_1 is accepted even if it was not asked for. */
	fresh(0, 0);
	CHECK_EQ(vio_drv_begin(&drv, &bus, &b, &(struct vio_features){
		{ 0, 0 } }), VIO_OK);
	CHECK_EQ(b.accepted.w[0], v1);
}

TEST("ORDER_PLATFORM is accepted where it is offered, and its barriers used",
     "core.driver.reserved-feature-bits.6")
{
	const uint64_t order = 1ull << VIRTIO_F_ORDER_PLATFORM;

	fresh(order, 0);
	CHECK_EQ(begin(0), VIO_OK);
	CHECK(b.accepted.w[0] & order);
	CHECK_EQ(make_queue(0), VIO_OK);
	CHECK(vq.dma);
	fresh(0, 0);
	CHECK_EQ(begin(order), VIO_OK);
	CHECK(!(b.accepted.w[0] & order));
	CHECK_EQ(make_queue(0), VIO_OK);
	CHECK(!vq.dma);
}

TEST("a device that refuses, or is of another age: FAILED, and no further",
     "core.driver.feature-bits.2 core.driver.feature-bits.4 "
     "core.driver.device-initialization.4 core.driver.device-initialization.5 "
     "core.driver.reserved-feature-bits.2")
{
	fresh(0, 0);
	b.refuse = true;
	CHECK_EQ(begin(0), VIO_E_UNSUPP);
	CHECK(b.status & VIRTIO_STATUS_FAILED);
	CHECK(!(b.status & VIRTIO_STATUS_DRIVER_OK));
	fresh(0, 0);
	b.offered.w[0] = 0;	/* no VERSION_1 */
	CHECK_EQ(begin(0), VIO_E_UNSUPP);
	CHECK(b.status & VIRTIO_STATUS_FAILED);
	for (unsigned i = 0; i < b.nr; i++)
		CHECK_NE(b.diary[i].what, SET_FEATURES);
}

TEST("after FAILED comes a reset", "core.driver.device-status-field.3")
{
	fresh(0, 0);
	b.refuse = true;
	CHECK_EQ(begin(0), VIO_E_UNSUPP);
	b.refuse = false;
	b.nr = 0;
	CHECK_EQ(begin(0), VIO_OK);
	CHECK_EQ(b.diary[0].what, STATUS);
	CHECK_EQ(b.diary[0].value, 0);
}

TEST("a reset is over when the status reads 0", "core.driver.device-reset.1")
{
	fresh(0, 0);
	b.slow_reset = 5;
	CHECK_EQ(begin(0), VIO_OK);
	CHECK_EQ(b.slow_reset, 0);
	CHECK_EQ(b.diary[0].what, STATUS);
	for (unsigned i = 1; i <= 6; i++)
		CHECK_EQ(b.diary[i].what, GET_STATUS);
	/* One that never ends is an error, not a hang. */
	fresh(0, 0);
	b.slow_reset = 200;
	b.waits = 990;
	CHECK_EQ(begin(0), VIO_E_IO);
}

TEST("configuration is read within one generation",
     "core.driver.device-configuration-space.1")
{
	unsigned char got[16];

	fresh(0, 0);
	CHECK_EQ(begin(0), VIO_OK);
	b.changes = 3;
	CHECK_EQ(vio_drv_config_read(&drv, 8, got, sizeof(got)), VIO_OK);
	for (unsigned i = 0; i < sizeof(got); i++)
		CHECK_EQ(got[i], 3);
}

TEST("a queue is cut to what the device has, or is not there", "")
{
	fresh(0, 0);
	CHECK_EQ(begin(0), VIO_OK);
	CHECK_EQ(make_queue(0), VIO_OK);
	CHECK_EQ(vq.size, 8);
	CHECK_EQ(make_queue(1), VIO_E_UNSUPP);
}

/* -- optional fields ------------------------------------------------------ */

static const struct field blk_fields[] = {
	{ 0, 8, { ALWAYS } }, { 8, 4, { VIRTIO_BLK_F_SIZE_MAX } },
	{ 12, 4, { VIRTIO_BLK_F_SEG_MAX } },
	{ 16, 4, { VIRTIO_BLK_F_GEOMETRY } },
	{ 20, 4, { VIRTIO_BLK_F_BLK_SIZE } },
	{ 24, 8, { VIRTIO_BLK_F_TOPOLOGY } },
	{ 32, 1, { VIRTIO_BLK_F_CONFIG_WCE } },
	{ 34, 2, { VIRTIO_BLK_F_MQ } },
	{ 36, 12, { VIRTIO_BLK_F_DISCARD } },
	{ 48, 9, { VIRTIO_BLK_F_WRITE_ZEROES } },
	{ 60, 12, { VIRTIO_BLK_F_SECURE_ERASE } },
	{ 72, 24, { VIRTIO_BLK_F_ZONED } }, { 0 },
};

static const struct field console_fields[] = {
	{ 0, 4, { VIRTIO_CONSOLE_F_SIZE } },
	{ 4, 4, { VIRTIO_CONSOLE_F_MULTIPORT } },
	{ 8, 4, { VIRTIO_CONSOLE_F_EMERG_WRITE } }, { 0 },
};

static const struct field net_fields[] = {
	{ 0, 6, { VIRTIO_NET_F_MAC } }, { 6, 2, { VIRTIO_NET_F_STATUS } },
	{ 8, 2, { VIRTIO_NET_F_MQ, VIRTIO_NET_F_RSS } },
	{ 10, 2, { VIRTIO_NET_F_MTU } },
	{ 12, 5, { VIRTIO_NET_F_SPEED_DUPLEX } },
	{ 17, 1, { VIRTIO_NET_F_RSS, VIRTIO_NET_F_HASH_REPORT } },
	{ 18, 2, { VIRTIO_NET_F_RSS } },
	{ 20, 4, { VIRTIO_NET_F_RSS, VIRTIO_NET_F_HASH_REPORT } }, { 0 },
};

static int meet_blk(const struct vio_features *wanted)
{
	const struct vio_vq_limits limits = { 8, 4 };
	struct vio_drv_mem mem = memory();
	static struct vio_blkdrv blk;

	return vio_blkdrv_init(&blk, &bus, &b, wanted, &limits, 1, &mem);
}

static int meet_console(const struct vio_features *wanted)
{
	const struct vio_vq_limits limits = { 8, 4 };
	struct vio_drv_mem mem = memory();
	static struct vio_condrv con;

	return vio_condrv_init(&con, &bus, &b, wanted, &limits, &mem);
}

static int meet_net(const struct vio_features *wanted)
{
	const struct vio_netdrv_conf conf = {
		.wanted = *wanted, .pairs = 1, .limits = { 8, 4 },
		.rx_buffers = 4, .rx_len = 2048,
	};
	struct vio_drv_mem mem = memory();
	static struct vio_netdrv net;
	int err = vio_netdrv_init(&net, &bus, &b, &conf, &mem);

	return err ? err : vio_netdrv_refresh(&net);
}

TEST("a field is read where its feature is offered, and not elsewhere",
     "core.driver.device-configuration-space.2")
{
	static const struct {
		const struct field *fields;
		int (*meet)(const struct vio_features *wanted);
		uint16_t queues;
	} type[] = {
		{ blk_fields, meet_blk, 1 },
		{ console_fields, meet_console, 2 },
		{ net_fields, meet_net, 3 },
	};
	const struct vio_features all = set_of(~0ull, ~0ull);
	unsigned met = 0;

	/* Each feature alone; a type's driver may decline it alone. */
	for (unsigned i = 0; i < VIO_ARRAY_LEN(type); i++)
		for (unsigned bit = 0; bit <= 64; bit++) {
			fresh(bit < 64 ? 1ull << bit : 0, 0);
			b.fields = type[i].fields;
			b.queues = type[i].queues;
			met += type[i].meet(&all) == VIO_OK;
		}
	CHECK_GT(met, 100u);
}
