/* SPDX-License-Identifier: MIT */
/*
 * blk_zoned.c - what the block device itself has to say about zones, secure
 * erase, lifetime and legacy requests, against rings written by hand and a
 * back end that only takes notes. What zones do: test/backend/zoned.c.
 */
#include <vireo/blk.h>
#include "core/base/mod.h"
#include "test/core/rig.h"
#include "vtest.h"

#define ZONE	64u			/* sectors */
#define SECTORS	(4 * ZONE - 16)		/* the last zone is smaller */
#define HDR	RIG_DATA
#define PAY	(RIG_DATA + 0x400)
#define TAIL	(RIG_DATA + 0x300)	/* append_sector, if any, and status */

static struct rig r;
static struct vio_blk blk;
static struct vio_queue queue[1];
static struct vio_blk_io seen;
static unsigned nr_seen;
static int answer;
static struct vio_blk_wear worn;
static struct vio_blk_conf conf;
static uint64_t tell_till;	/* of zones, in sectors */

static void be_submit(void *ctx, struct vio_blk_io *io)
{
	CHECK(ctx == &worn);
	seen = *io;
	nr_seen++;
	if (io->op == VIO_BLK_ZONE_APPEND)
		io->offset += 8 * 512;
	io->done(io, answer);
}

static void be_commit(void *ctx, unsigned q)
{
	CHECK(ctx == &worn);
	CHECK_EQ(q, 0);
}

static unsigned be_report(void *ctx, uint64_t sector, struct vio_blk_zone *z,
			  unsigned max)
{
	unsigned n;

	CHECK(ctx == &worn);
	for (n = 0; n < max && sector < tell_till; n++) {
		z[n] = (struct vio_blk_zone){
			.start = sector / ZONE * ZONE,
			.capacity = 40,
			.wp = sector / ZONE * ZONE + n,
			.type = VIRTIO_BLK_ZT_SWR,
			.state = VIRTIO_BLK_ZS_IOPEN,
		};
		sector = z[n].start + ZONE;
	}
	return n;
}

static int be_wear(void *ctx, struct vio_blk_wear *w)
{
	CHECK(ctx == &worn);
	*w = worn;
	return answer;
}

static const struct vio_blk_backend_ops ops = {
	.submit = be_submit, .commit = be_commit,
	.zone_report = be_report, .wear = be_wear,
};

static void prepare(void)
{
	conf = (struct vio_blk_conf){
		.capacity_sectors = SECTORS, .seg_max = 30, .size_max = 65536,
		.max_secure_erase_sectors = 2 * ZONE,
		.max_secure_erase_seg = 2,
		.secure_erase_sector_alignment = ZONE,
		.lifetime = true, .zoned = true,
		.zones = { VIRTIO_BLK_Z_HM, ZONE, 2, 3, 16, 4096 },
	};
	worn = (struct vio_blk_wear){ 1, 4, 11 };
	answer = VIO_OK;
	tell_till = SECTORS;
	nr_seen = 0;
}

static void make(void)
{
	rig_init(&r, queue, 1, vio_blk_ctx_size);
	CHECK_EQ(vio_blk_init(&blk, &conf, queue, &ops, &worn, NULL), VIO_OK);
}

static void start(void)
{
	prepare();
	make();
	rig_start_plain(&r, &blk.dev);
}

static void start_without(unsigned bit)
{
	struct vio_features f;

	make();
	f = *vio_dev_offered(&blk.dev);
	vio_feature_clear(&f, bit);
	rig_start(&r, &blk.dev, &f);
}

static uint32_t used_len;

/* @out and @in bytes of data; the tail of @tail bytes ends with a status. */
static int request_tail(uint32_t type, uint64_t sector, uint32_t out,
			uint32_t in, uint32_t tail)
{
	struct virtio_blk_req_hdr h = { vio_to_le32(type), vio_to_le32(0),
					vio_to_le64(sector) };
	uint32_t id;

	memcpy(rig_at(&r, HDR), &h, sizeof(h));
	memset(rig_at(&r, TAIL), 0xee, 16);
	rig_desc(&r, 0, HDR, 16, VIRTQ_DESC_F_NEXT, out ? 1 : in ? 2 : 3);
	rig_desc(&r, 1, PAY, out, VIRTQ_DESC_F_NEXT, in ? 2 : 3);
	rig_desc(&r, 2, PAY, in, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 3);
	rig_desc(&r, 3, TAIL, tail, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK(rig_used(&r, &id, &used_len));
	return ((unsigned char *)rig_at(&r, TAIL))[tail - 1];
}

static int request(uint32_t type, uint64_t sector, uint32_t out, uint32_t in)
{
	return request_tail(type, sector, out, in, 1);
}

static void range(unsigned i, uint64_t sector, uint32_t num, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes w = { vio_to_le64(sector),
		vio_to_le32(num), vio_to_le32(flags) };

	memcpy((char *)rig_at(&r, PAY) + i * 16, &w, 16);
}

static const uint32_t zone_types[] = {
	VIRTIO_BLK_T_ZONE_REPORT, VIRTIO_BLK_T_ZONE_OPEN,
	VIRTIO_BLK_T_ZONE_CLOSE, VIRTIO_BLK_T_ZONE_FINISH,
	VIRTIO_BLK_T_ZONE_APPEND, VIRTIO_BLK_T_ZONE_RESET,
	VIRTIO_BLK_T_ZONE_RESET_ALL,
};

TEST("zone requests without the feature are UNSUPP",
     "blk.device.device-operation.16")
{
	prepare();
	conf.zones.model = VIRTIO_BLK_Z_HA;
	start_without(VIRTIO_BLK_F_ZONED);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(zone_types); i++) {
		CHECK_EQ(request_tail(zone_types[i], 0, 4096, 0, 9),
			 VIRTIO_BLK_S_UNSUPP);
		CHECK_EQ(request(zone_types[i], 0, 0, 4096),
			 VIRTIO_BLK_S_UNSUPP);
	}
	CHECK_EQ(nr_seen, 0);
}

TEST("a host-managed disk refuses a driver that knows no zones",
     "blk.device.device-initialization.7")
{
	struct vio_features f;

	prepare();
	make();
	f = *vio_dev_offered(&blk.dev);
	vio_feature_clear(&f, VIRTIO_BLK_F_ZONED);
	vio_dev_set_status(&blk.dev, 3);
	CHECK_EQ(vio_dev_set_features(&blk.dev, &f), VIO_OK);
	vio_dev_set_status(&blk.dev, 3 | VIRTIO_STATUS_FEATURES_OK);
	CHECK(!(vio_dev_status(&blk.dev) & VIRTIO_STATUS_FEATURES_OK));
}

static struct virtio_blk_zoned_characteristics zoned_config(void)
{
	struct virtio_blk_config c;

	vio_dev_config_read(&blk.dev, 0, &c, sizeof(c));
	return c.zoned;
}

TEST("what the configuration says of zones",
     "blk.device.device-initialization.6 blk.device.device-initialization.8 "
     "blk.device.device-initialization.9 blk.device.device-initialization.10 "
     "blk.device.device-initialization.11 "
     "blk.device.device-initialization.12 "
     "blk.device.device-initialization.13 "
     "blk.device.device-initialization.16 "
     "blk.device.device-initialization.17")
{
	struct virtio_blk_zoned_characteristics z, none;

	memset(&none, 0, sizeof(none));
	start();
	z = zoned_config();
	CHECK_EQ(z.model, VIRTIO_BLK_Z_HM);
	CHECK_EQ(vio_from_le32(z.zone_sectors), ZONE);
	CHECK_EQ(vio_from_le32(z.max_open_zones), 2);
	CHECK_EQ(vio_from_le32(z.max_active_zones), 3);
	CHECK_EQ(vio_from_le32(z.max_append_sectors), 16);
	CHECK_EQ(vio_from_le32(z.write_granularity), 4096);
	CHECK_EQ(z.unused2[0] | z.unused2[1] | z.unused2[2], 0);
	conf.zones.model = VIRTIO_BLK_Z_HA;
	start_without(VIRTIO_BLK_F_ZONED);
	z = zoned_config();
	CHECK_MEMEQ(&z, &none, sizeof(z));
	CHECK_EQ(request(VIRTIO_BLK_T_OUT, 3, 512, 0), VIRTIO_BLK_S_OK);
	vio_dev_set_status(&blk.dev, 0);	/* the next driver may see */
	CHECK_EQ(zoned_config().model, VIRTIO_BLK_Z_HA);
	/* Drive-managed: offered, and the model is none. */
	conf.zones.model = VIRTIO_BLK_Z_NONE;
	make();
	rig_start_plain(&r, &blk.dev);
	CHECK(vio_dev_has(&blk.dev, VIRTIO_BLK_F_ZONED));
	z = zoned_config();
	CHECK_MEMEQ(&z, &none, sizeof(z));
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_OPEN, 0, 0, 0),
		 VIRTIO_BLK_S_UNSUPP);
}

TEST("zones that do not go together are refused",
     "blk.device.device-initialization.14 blk.device.device-operation.37")
{
	prepare();
	rig_init(&r, queue, 1, vio_blk_ctx_size);
	for (unsigned i = 0; i < 12; i++) {
		struct vio_blk_backend_ops o = ops;
		struct vio_blk_conf c = conf;

		switch (i) {
		case 0: c.zones.zone_sectors = 0; break;
		case 1: c.zones.model = 3; break;
		case 2: c.zones.write_granularity = 256; break;
		case 3: c.zones.write_granularity = 1536; break;
		case 4: c.max_discard_sectors = c.max_discard_seg = 1; break;
		case 5: c.max_write_zeroes_sectors = 1;
			c.max_write_zeroes_seg = 1; break;
		case 6: c.zones.max_open = 4; break;
		case 7: c.secure_erase_sector_alignment = 32; break;
		case 8: c.zones.max_append_sectors = 30 * 128 + 1; break;
		case 9: o.zone_report = NULL; break;
		case 10: o.wear = NULL; break;
		case 11: c.max_secure_erase_seg = 0; break;
		}
		CHECK_EQ(vio_blk_init(&blk, &c, queue, &o, &worn, NULL),
			 VIO_E_INVAL);
	}
	conf.zones.max_append_sectors = 30 * 128;
	CHECK_EQ(vio_blk_init(&blk, &conf, queue, &ops, &worn, NULL), VIO_OK);
}

TEST("a report has as many zones as there are and as fit", "")
{
	const struct virtio_blk_zone_report *head;
	const struct virtio_blk_zone_descriptor *d;
	/* bytes of data, first sector, zones expected */
	const uint32_t want[][3] = {
		{ 64, 0, 0 }, { 127, 0, 0 }, { 128, 0, 1 }, { 200, 63, 2 },
		{ 64 + 4 * 64, 0, 4 }, { 4096, 0, 4 }, { 4096, 70, 3 },
		{ 4096, SECTORS - 1, 1 },
	};

	start();
	head = rig_at(&r, PAY);
	d = (const void *)(head + 1);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(want); i++) {
		memset(rig_at(&r, PAY), 0xaa, 4096);
		CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, want[i][1], 0,
				 want[i][0]), VIRTIO_BLK_S_OK);
		CHECK_EQ(vio_from_le64(head->nr_zones), want[i][2]);
		CHECK_EQ(head->reserved[55], 0);
		CHECK_GE(used_len, 64 + 64 * want[i][2]);
		for (unsigned z = 0; z < want[i][2]; z++) {
			CHECK_EQ(vio_from_le64(d[z].z_start),
				 (want[i][1] / ZONE + z) * ZONE);
			CHECK_EQ(vio_from_le64(d[z].z_cap), 40);
			CHECK_EQ(vio_from_le64(d[z].z_wp),
				 (want[i][1] / ZONE + z) * ZONE + z);
			CHECK_EQ(d[z].z_type, VIRTIO_BLK_ZT_SWR);
			CHECK_EQ(d[z].z_state, VIRTIO_BLK_ZS_IOPEN);
			CHECK_EQ(d[z].reserved[37], 0);
		}
		CHECK_EQ(*((unsigned char *)rig_at(&r, PAY) + want[i][0]),
			 want[i][0] == 4096 ? 0 : 0xaa);
	}
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, 0, 0, 63),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, 0, 0, 0),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, SECTORS, 0, 4096),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, UINT64_MAX, 0, 4096),
		 VIRTIO_BLK_S_IOERR);
}

TEST("a report that storage cannot give fails, unless some of it was given", "")
{
	const struct virtio_blk_zone_report *head;

	start();
	head = rig_at(&r, PAY);
	tell_till = ZONE;
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, 0, 0, 4096),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(vio_from_le64(head->nr_zones), 1);
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, ZONE, 0, 4096),
		 VIRTIO_BLK_S_IOERR);
	/* No room for any: that is the driver's affair. */
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, ZONE, 0, 100),
		 VIRTIO_BLK_S_OK);
}

TEST("zones are opened, closed, finished, reset by their first sector", "")
{
	static const uint8_t want[] = {
		VIO_BLK_ZONE_OPEN, VIO_BLK_ZONE_CLOSE, VIO_BLK_ZONE_FINISH,
		VIO_BLK_ZONE_RESET,
	};
	static const uint32_t types[] = {
		VIRTIO_BLK_T_ZONE_OPEN, VIRTIO_BLK_T_ZONE_CLOSE,
		VIRTIO_BLK_T_ZONE_FINISH, VIRTIO_BLK_T_ZONE_RESET,
	};
	static const uint64_t bad[] = { 1, ZONE - 1, 4 * ZONE, UINT64_MAX,
					1ull << 62 };

	start();
	for (unsigned i = 0; i < VIO_ARRAY_LEN(types); i++) {
		nr_seen = 0;
		CHECK_EQ(request(types[i], 2 * ZONE, 0, 0), VIRTIO_BLK_S_OK);
		CHECK_EQ(used_len, 1);
		CHECK_EQ(nr_seen, 1);
		CHECK_EQ(seen.op, want[i]);
		CHECK_EQ(seen.offset, 2 * ZONE * 512);
		CHECK_EQ(seen.len, 0);
		for (unsigned b = 0; b < VIO_ARRAY_LEN(bad); b++)
			CHECK_EQ(request(types[i], bad[b], 0, 0),
				 VIRTIO_BLK_S_ZONE_INVALID_CMD);
		CHECK_EQ(nr_seen, 1);
	}
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_RESET_ALL, 77, 0, 0),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(seen.op, VIO_BLK_ZONE_RESET_ALL);
	CHECK_EQ(seen.offset, 0);
	for (answer = VIRTIO_BLK_S_ZONE_INVALID_CMD;
	     answer <= VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE; answer++)
		CHECK_EQ(request(VIRTIO_BLK_T_ZONE_OPEN, 0, 0, 0), answer);
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_OPEN, 0, 0, 0),
		 VIRTIO_BLK_S_IOERR);	/* 7: nothing the standard knows */
}

TEST("an append says where the data went",
     "blk.device.device-operation.25 blk.device.device-operation.27 "
     "blk.device.device-operation.28 blk.device.device-operation.29 "
     "blk.device.device-initialization.15")
{
	vio_le64 at;

	start();
	CHECK_EQ(request_tail(VIRTIO_BLK_T_ZONE_APPEND, ZONE, 4096, 0, 9),
		 VIRTIO_BLK_S_OK);
	memcpy(&at, rig_at(&r, TAIL), 8);
	CHECK_EQ(vio_from_le64(at), ZONE + 8);
	CHECK_EQ(used_len, 9);
	CHECK_EQ(seen.op, VIO_BLK_ZONE_APPEND);
	CHECK_EQ(seen.len, 4096);
	/* Room between the sector and the status, as Linux has it. */
	CHECK_EQ(request_tail(VIRTIO_BLK_T_ZONE_APPEND, ZONE, 4096, 0, 16),
		 VIRTIO_BLK_S_OK);
	memcpy(&at, rig_at(&r, TAIL), sizeof(at));
	CHECK_EQ(vio_from_le64(at), ZONE + 8);
	CHECK_EQ(nr_seen, 2);
	/* Not the first sector; too much; nothing; no whole sector. */
	CHECK_EQ(request_tail(VIRTIO_BLK_T_ZONE_APPEND, 8, 4096, 0, 9),
		 VIRTIO_BLK_S_ZONE_INVALID_CMD);
	CHECK_EQ(request_tail(VIRTIO_BLK_T_ZONE_APPEND, 0, 17 * 512, 0, 9),
		 VIRTIO_BLK_S_ZONE_INVALID_CMD);
	CHECK_EQ(request_tail(VIRTIO_BLK_T_ZONE_APPEND, 0, 0, 0, 9),
		 VIRTIO_BLK_S_ZONE_INVALID_CMD);
	CHECK_EQ(request_tail(VIRTIO_BLK_T_ZONE_APPEND, 0, 100, 0, 9),
		 VIRTIO_BLK_S_IOERR);
	/* No room to say where. */
	CHECK_EQ(request_tail(VIRTIO_BLK_T_ZONE_APPEND, 0, 4096, 0, 8),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(nr_seen, 2);
	conf.zones.max_append_sectors = 0;
	make();
	rig_start_plain(&r, &blk.dev);
	CHECK_EQ(request_tail(VIRTIO_BLK_T_ZONE_APPEND, 0, 512, 0, 9),
		 VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(nr_seen, 2);
}

TEST("the zones of a read-only disk stay as they are",
     "blk.device.device-operation.3")
{
	prepare();
	conf.read_only = true;
	make();
	rig_start_plain(&r, &blk.dev);
	for (unsigned i = 1; i < VIO_ARRAY_LEN(zone_types); i++)
		CHECK_EQ(request_tail(zone_types[i], 0,
				      zone_types[i] ==
				      VIRTIO_BLK_T_ZONE_APPEND ? 4096 : 0,
				      0, 9), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(nr_seen, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_ZONE_REPORT, 0, 0, 4096),
		 VIRTIO_BLK_S_OK);
}

TEST("zone statuses are for drivers that know zones", "")
{
	prepare();
	conf.zones.model = VIRTIO_BLK_Z_HA;
	start_without(VIRTIO_BLK_F_ZONED);
	answer = VIRTIO_BLK_S_ZONE_UNALIGNED_WP;
	CHECK_EQ(request(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_IOERR);
	make();
	rig_start_plain(&r, &blk.dev);
	CHECK_EQ(request(VIRTIO_BLK_T_OUT, 0, 512, 0),
		 VIRTIO_BLK_S_ZONE_UNALIGNED_WP);
}

TEST("secure erase: whole zones, flags, limits",
     "blk.device.device-operation.4 blk.device.device-operation.38 "
     "blk.device.device-operation.39")
{
	start();
	range(0, ZONE, ZONE, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(nr_seen, 1);
	CHECK_EQ(seen.op, VIO_BLK_SECURE_ERASE);
	CHECK_EQ(seen.offset, ZONE * 512);
	CHECK_EQ(seen.len, ZONE * 512);
	/* Half a zone is as wrong as its reset would be. */
	range(0, ZONE, ZONE / 2, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
		 VIRTIO_BLK_S_ZONE_INVALID_CMD);
	range(0, 8, ZONE, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
		 VIRTIO_BLK_S_ZONE_INVALID_CMD);
	range(0, 0, 3 * ZONE, 0);	/* max_secure_erase_sectors */
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
		 VIRTIO_BLK_S_IOERR);
	for (unsigned bit = 0; bit < 32; bit++) {
		range(0, 0, ZONE, 1u << bit);
		CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
			 VIRTIO_BLK_S_UNSUPP);
	}
	for (unsigned i = 0; i < 3; i++)
		range(i, 0, ZONE, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 48, 0),
		 VIRTIO_BLK_S_IOERR);	/* max_secure_erase_seg */
	CHECK_EQ(nr_seen, 1);
	start_without(VIRTIO_BLK_F_SECURE_ERASE);
	range(0, 0, ZONE, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
		 VIRTIO_BLK_S_UNSUPP);
}

TEST("without zones, sectors are erased securely, and none that is not there",
     "")
{
	prepare();
	conf.zoned = false;
	make();
	rig_start_plain(&r, &blk.dev);
	range(0, 3, 7, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(seen.len, 7 * 512);
	range(0, SECTORS - 1, 2, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
		 VIRTIO_BLK_S_IOERR);
	answer = VIO_E_UNSUPP;
	range(0, 0, 1, 0);
	CHECK_EQ(request(VIRTIO_BLK_T_SECURE_ERASE, 0, 16, 0),
		 VIRTIO_BLK_S_UNSUPP);
}

TEST("lifetime: the storage's numbers, never a reserved one",
     "blk.device.device-operation.13 blk.device.device-operation.14 "
     "blk.device.device-operation.15")
{
	struct virtio_blk_lifetime w;

	start();
	CHECK_EQ(request(VIRTIO_BLK_T_GET_LIFETIME, 0, 0, 6),
		 VIRTIO_BLK_S_OK);
	CHECK_EQ(used_len, 7);
	memcpy(&w, rig_at(&r, PAY), 6);
	CHECK_EQ(vio_from_le16(w.pre_eol_info), 1);
	CHECK_EQ(vio_from_le16(w.device_lifetime_est_typ_a), 4);
	CHECK_EQ(vio_from_le16(w.device_lifetime_est_typ_b), 11);
	worn = (struct vio_blk_wear){ 4, 12, 255 };
	CHECK_EQ(request(VIRTIO_BLK_T_GET_LIFETIME, 0, 0, 6),
		 VIRTIO_BLK_S_OK);
	CHECK_MEMEQ(rig_at(&r, PAY), "\0\0\0\0\0", 6);
	CHECK_EQ(request(VIRTIO_BLK_T_GET_LIFETIME, 0, 0, 5),
		 VIRTIO_BLK_S_IOERR);
	answer = VIO_E_IO;
	CHECK_EQ(request(VIRTIO_BLK_T_GET_LIFETIME, 0, 0, 6),
		 VIRTIO_BLK_S_IOERR);
	answer = VIO_OK;
	start_without(VIRTIO_BLK_F_LIFETIME);
	CHECK_EQ(request(VIRTIO_BLK_T_GET_LIFETIME, 0, 0, 6),
		 VIRTIO_BLK_S_UNSUPP);
	conf.lifetime = false;
	make();
	CHECK(!vio_has(vio_dev_offered(&blk.dev), VIRTIO_BLK_F_LIFETIME));
}

TEST("what legacy drivers may send: FLUSH by another name, no SCSI, no barrier",
     "blk.device.device-initialization.5 "
     "blk.other.legacy-interface-device-initialization.1 "
     "blk.other.legacy-interface-device-operation.3 "
     "blk.other.legacy-interface-device-operation.4")
{
	struct vio_features f;

	prepare();
	conf.zoned = false;
	make();
	f = *vio_dev_offered(&blk.dev);
	CHECK(!vio_has(&f, VIRTIO_BLK_F_BARRIER));
	CHECK(!vio_has(&f, VIRTIO_BLK_F_SCSI));
	rig_start_plain(&r, &blk.dev);
	CHECK_EQ(request(VIRTIO_BLK_T_FLUSH_OUT, 0, 0, 0),
		 VIRTIO_BLK_S_UNSUPP);
	make();
	rig_start_legacy(&r, &blk.dev);
	CHECK_EQ(request(VIRTIO_BLK_T_FLUSH_OUT, 0, 0, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(seen.op, VIO_BLK_FLUSH);
	nr_seen = 0;
	CHECK_EQ(request(VIRTIO_BLK_T_SCSI_CMD, 0, 16, 0),
		 VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(request(VIRTIO_BLK_T_SCSI_CMD_OUT, 0, 16, 0),
		 VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(request(VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_BARRIER, 0, 512, 0),
		 VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(nr_seen, 0);
}

TEST("remainders, by powers of two and others", "")
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t n = vtest_u64(&rnd) >> vtest_below(&rnd, 64);
		uint32_t by = 1 + (uint32_t)(vtest_u64(&rnd) >>
					     (33 + vtest_below(&rnd, 31)));

		CHECK_EQ(vio_mod(n, by), n % by);
		by = 1u << vtest_below(&rnd, 32);
		CHECK_EQ(vio_mod(n, by), n % by);
	}
}

TEST("a legacy driver's cache mode is its own to choose",
     "blk.other.legacy-interface-device-initialization.2 "
     "blk.other.legacy-interface-device-initialization.3 "
     "blk.other.legacy-interface-device-initialization.4")
{
	const uint32_t at = offsetof(struct virtio_blk_config, writeback);
	struct vio_features f = { { 0, 0 } };

	prepare();
	conf.zoned = false;
	make();
	vio_dev_transitional(&blk.dev);
	CHECK_EQ(blk.config.writeback, 1);
	/* Before it accepts anything. */
	CHECK_EQ(vio_dev_config_write(&blk.dev, at, "\0", 1), VIO_OK);
	CHECK_EQ(blk.config.writeback, 0);
	CHECK_EQ(vio_dev_config_write(&blk.dev, at, "\1", 1), VIO_OK);
	/* CONFIG_WCE without FLUSH: neither features nor status change it. */
	vio_feature_set(&f, VIRTIO_BLK_F_CONFIG_WCE);
	vio_dev_set_status(&blk.dev, 3);
	CHECK_EQ(vio_dev_set_features(&blk.dev, &f), VIO_OK);
	CHECK_EQ(blk.config.writeback, 1);
	vio_dev_set_status(&blk.dev, 7);
	CHECK_EQ(blk.config.writeback, 1);
	/* With neither, DRIVER_OK makes it a cache that needs no flush. */
	make();
	vio_dev_transitional(&blk.dev);
	vio_dev_set_status(&blk.dev, 3);
	vio_feature_clear(&f, VIRTIO_BLK_F_CONFIG_WCE);
	CHECK_EQ(vio_dev_set_features(&blk.dev, &f), VIO_OK);
	CHECK_EQ(blk.config.writeback, 1);
	vio_dev_set_status(&blk.dev, 7);
	CHECK_EQ(blk.config.writeback, 0);
	CHECK_EQ(vio_dev_config_write(&blk.dev, at, "\1", 1), VIO_E_PEER);
}

TEST("a legacy guest's numbers are in its own byte order",
     "blk.other.legacy-interface-device-configuration-layout.1 "
     "blk.other.legacy-interface-device-operation.1")
{
	struct virtio_blk_req_hdr h;
	unsigned char b[8];

	prepare();
	conf.zoned = false;
	make();
	vio_dev_transitional(&blk.dev);
	rig_start_legacy(&r, &blk.dev);
	/* From now on; the ring, which runs already, stays as it is. */
	vio_dev_set_guest_endian(&blk.dev, true);
	vio_dev_config_read(&blk.dev, 0, b, 8);
	CHECK_MEMEQ(b, ((const unsigned char[]){ 0, 0, 0, 0, 0, 0, 0,
						 SECTORS }), 8);
	vio_dev_config_read(&blk.dev,
			    offsetof(struct virtio_blk_config,
				     max_secure_erase_sectors), b, 4);
	CHECK_MEMEQ(b, ((const unsigned char[]){ 0, 0, 0, 2 * ZONE }), 4);
	h = (struct virtio_blk_req_hdr){
		.type = vio_to_le32(__builtin_bswap32(VIRTIO_BLK_T_OUT)),
		.sector = vio_to_le64(__builtin_bswap64(5)),
	};
	memcpy(rig_at(&r, HDR), &h, sizeof(h));
	rig_desc(&r, 0, HDR, 16, VIRTQ_DESC_F_NEXT, 1);
	rig_desc(&r, 1, PAY, 512, VIRTQ_DESC_F_NEXT, 2);
	rig_desc(&r, 2, TAIL, 1, VIRTQ_DESC_F_WRITE, 0);
	rig_avail(&r, 0);
	CHECK_EQ(rig_kick(&r), VIO_SERVICE_IDLE);
	CHECK_EQ(nr_seen, 1);
	CHECK_EQ(seen.op, VIO_BLK_WRITE);
	CHECK_EQ(seen.offset, 5 * 512);
}
