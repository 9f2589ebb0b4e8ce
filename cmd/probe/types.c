/* SPDX-License-Identifier: MIT */
/*
 * Device types: see types.h. Names of features are short, as the standard has
 * them behind VIRTIO_<type>_F_.
 */
#include "types.h"

#include <stdio.h>
#include <string.h>

#define NEEDS_NONE	{ -1, -1, -1 }
#define F(bit, name)	{ bit, name, NEEDS_NONE }
#define F1(bit, name, a)	{ bit, name, { a, -1, -1 } }
#define F2(bit, name, a, b)	{ bit, name, { a, b, -1 } }

static const struct type_feature ring_features[] = {
	F(24, "NOTIFY_ON_EMPTY"), F(26, "VHOST_LOG_ALL"), F(27, "ANY_LAYOUT"),
	F(28, "INDIRECT_DESC"), F(29, "EVENT_IDX"),
	F(30, "VHOST_USER_PROTOCOL_FEATURES"), F(32, "VERSION_1"),
	F(33, "ACCESS_PLATFORM"), F(34, "RING_PACKED"), F(35, "IN_ORDER"),
	F(36, "ORDER_PLATFORM"), F(37, "SR_IOV"), F(38, "NOTIFICATION_DATA"),
	F(39, "NOTIF_CONFIG_DATA"), F(40, "RING_RESET"), F(41, "ADMIN_VQ"),
	F(0, NULL)
};

/* 5.1.3 and 5.1.3.1 */
static const struct type_feature net_features[] = {
	F(0, "CSUM"), F(1, "GUEST_CSUM"), F(2, "CTRL_GUEST_OFFLOADS"),
	F(3, "MTU"), F(5, "MAC"), F(6, "GSO"), F1(7, "GUEST_TSO4", 1),
	F1(8, "GUEST_TSO6", 1), F2(9, "GUEST_ECN", 7, 8),
	F1(10, "GUEST_UFO", 1), F1(11, "HOST_TSO4", 0), F1(12, "HOST_TSO6", 0),
	F2(13, "HOST_ECN", 11, 12), F1(14, "HOST_UFO", 0), F(15, "MRG_RXBUF"),
	F(16, "STATUS"), F(17, "CTRL_VQ"), F1(18, "CTRL_RX", 17),
	F1(19, "CTRL_VLAN", 17), F1(20, "CTRL_RX_EXTRA", 17),
	F1(21, "GUEST_ANNOUNCE", 17), F1(22, "MQ", 17),
	F1(23, "CTRL_MAC_ADDR", 17), F1(53, "VQ_NOTF_COAL", 17),
	F1(54, "GUEST_USO4", 1), F1(55, "GUEST_USO6", 1),
	F1(56, "HOST_USO", 0), F(57, "HASH_REPORT"), F(59, "GUEST_HDRLEN"),
	F1(60, "RSS", 17), F2(61, "RSC_EXT", 7, 8), F(62, "STANDBY"),
	F(63, "SPEED_DUPLEX"), F(0, NULL)
};

static const struct type_field net_fields[] = {
	{ "mac", 0, 6, FIELD_BYTES, 5 }, { "status", 6, 2, FIELD_LE, 16 },
	{ "max_virtqueue_pairs", 8, 2, FIELD_LE, 22 },
	{ "mtu", 10, 2, FIELD_LE, 3 }, { "speed", 12, 4, FIELD_LE, 63 },
	{ "duplex", 16, 1, FIELD_LE, 63 }, { NULL, 0, 0, 0, 0 }
};

/* 5.2.3 */
static const struct type_feature blk_features[] = {
	F(0, "BARRIER"), F(1, "SIZE_MAX"), F(2, "SEG_MAX"), F(4, "GEOMETRY"),
	F(5, "RO"), F(6, "BLK_SIZE"), F(7, "SCSI"), F(9, "FLUSH"),
	F(10, "TOPOLOGY"), F(11, "CONFIG_WCE"), F(12, "MQ"),
	F(13, "DISCARD"), F(14, "WRITE_ZEROES"), F(15, "LIFETIME"),
	F(16, "SECURE_ERASE"), F(17, "ZONED"), F(0, NULL)
};

static const struct type_field blk_fields[] = {
	{ "capacity", 0, 8, FIELD_LE, -1 }, { "size_max", 8, 4, FIELD_LE, 1 },
	{ "seg_max", 12, 4, FIELD_LE, 2 }, { "cylinders", 16, 2, FIELD_LE, 4 },
	{ "heads", 18, 1, FIELD_LE, 4 }, { "sectors", 19, 1, FIELD_LE, 4 },
	{ "blk_size", 20, 4, FIELD_LE, 6 },
	{ "physical_block_exp", 24, 1, FIELD_LE, 10 },
	{ "alignment_offset", 25, 1, FIELD_LE, 10 },
	{ "min_io_size", 26, 2, FIELD_LE, 10 },
	{ "opt_io_size", 28, 4, FIELD_LE, 10 },
	{ "writeback", 32, 1, FIELD_LE, 11 },
	{ "num_queues", 34, 2, FIELD_LE, 12 },
	{ "max_discard_sectors", 36, 4, FIELD_LE, 13 },
	{ "max_discard_seg", 40, 4, FIELD_LE, 13 },
	{ "discard_sector_alignment", 44, 4, FIELD_LE, 13 },
	{ "max_write_zeroes_sectors", 48, 4, FIELD_LE, 14 },
	{ "max_write_zeroes_seg", 52, 4, FIELD_LE, 14 },
	{ "write_zeroes_may_unmap", 56, 1, FIELD_LE, 14 },
	{ NULL, 0, 0, 0, 0 }
};

static const struct type_feature console_features[] = {
	F(0, "SIZE"), F(1, "MULTIPORT"), F(2, "EMERG_WRITE"), F(0, NULL)
};

static const struct type_field console_fields[] = {
	{ "cols", 0, 2, FIELD_LE, 0 }, { "rows", 2, 2, FIELD_LE, 0 },
	{ "max_nr_ports", 4, 4, FIELD_LE, 1 }, { NULL, 0, 0, 0, 0 }
};

static const struct type_feature balloon_features[] = {
	F(0, "MUST_TELL_HOST"), F(1, "STATS_VQ"), F(2, "DEFLATE_ON_OOM"),
	F(3, "FREE_PAGE_HINT"), F(4, "PAGE_POISON"), F(5, "PAGE_REPORTING"),
	F(0, NULL)
};

static const struct type_field balloon_fields[] = {
	{ "num_pages", 0, 4, FIELD_LE, -1 }, { "actual", 4, 4, FIELD_LE, -1 },
	{ NULL, 0, 0, 0, 0 }
};

static const struct type_feature scsi_features[] = {
	F(0, "INOUT"), F(1, "HOTPLUG"), F(2, "CHANGE"), F(3, "T10_PI"),
	F(0, NULL)
};

static const struct type_field scsi_fields[] = {
	{ "num_queues", 0, 4, FIELD_LE, -1 }, { "seg_max", 4, 4, FIELD_LE, -1 },
	{ "max_sectors", 8, 4, FIELD_LE, -1 },
	{ "cmd_per_lun", 12, 4, FIELD_LE, -1 },
	{ "event_info_size", 16, 4, FIELD_LE, -1 },
	{ "sense_size", 20, 4, FIELD_LE, -1 },
	{ "cdb_size", 24, 4, FIELD_LE, -1 },
	{ "max_channel", 28, 2, FIELD_LE, -1 },
	{ "max_target", 30, 2, FIELD_LE, -1 },
	{ "max_lun", 32, 4, FIELD_LE, -1 }, { NULL, 0, 0, 0, 0 }
};

static const struct type_feature vsock_features[] = {
	F(0, "STREAM"), F(1, "SEQPACKET"), F(2, "NO_IMPLIED_STREAM"),
	F(0, NULL)
};

static const struct type_field vsock_fields[] = {
	{ "guest_cid", 0, 8, FIELD_LE, -1 }, { NULL, 0, 0, 0, 0 }
};

static const struct type_feature fs_features[] = {
	F(0, "NOTIFICATION"), F(0, NULL)
};

static const struct type_field fs_fields[] = {
	{ "tag", 0, 36, FIELD_TEXT, -1 },
	{ "num_request_queues", 36, 4, FIELD_LE, -1 },
	{ "notify_buf_size", 40, 4, FIELD_LE, 0 }, { NULL, 0, 0, 0, 0 }
};

static const struct type_feature i2c_features[] = {
	F(0, "ZERO_LENGTH_REQUEST"), F(0, NULL)
};

static const struct type_feature gpio_features[] = {
	F(0, "IRQ"), F(0, NULL)
};

static const struct type_field gpio_fields[] = {
	{ "ngpio", 0, 2, FIELD_LE, -1 },
	{ "gpio_names_size", 4, 4, FIELD_LE, -1 }, { NULL, 0, 0, 0, 0 }
};

static const struct type_field sound_fields[] = {
	{ "jacks", 0, 4, FIELD_LE, -1 }, { "streams", 4, 4, FIELD_LE, -1 },
	{ "chmaps", 8, 4, FIELD_LE, -1 }, { NULL, 0, 0, 0, 0 }
};

static const struct type_feature no_features[] = { F(0, NULL) };
static const struct type_field no_fields[] = { { NULL, 0, 0, 0, 0 } };

static const struct type types[] = {
	{ 1, "net", net_features, net_fields, 24, 2 },
	{ 2, "blk", blk_features, blk_fields, 60, 1 },
	{ 3, "console", console_features, console_fields, 12, 2 },
	{ 4, "rng", no_features, no_fields, 0, 1 },
	{ 5, "balloon", balloon_features, balloon_fields, 8, 2 },
	{ 8, "scsi", scsi_features, scsi_fields, 36, 3 },
	{ 18, "input", no_features, no_fields, 0, 2 },
	{ 19, "vsock", vsock_features, vsock_fields, 8, 2 },
	{ 25, "sound", no_features, sound_fields, 12, 4 },
	{ 26, "fs", fs_features, fs_fields, 44, 2 },
	{ 34, "i2c", i2c_features, no_fields, 0, 1 },
	{ 41, "gpio", gpio_features, gpio_fields, 8, 1 },
};

#define TYPES	(sizeof(types) / sizeof(types[0]))

const struct type *type_by_name(const char *name)
{
	for (size_t i = 0; i < TYPES; i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

void type_list(char *out, size_t len)
{
	size_t at = 0;

	*out = 0;
	for (size_t i = 0; i < TYPES && at < len; i++)
		at += (size_t)snprintf(out + at, len - at, " %s",
				       types[i].name);
}

/* A tag: printable, then zeroes up to the 36th byte; queues behind it. */
static bool looks_like_fs(const unsigned char *c, size_t len)
{
	size_t n = 0;

	if (len < 40)
		return false;
	while (n < 36 && c[n] > 0x20 && c[n] < 0x7f)
		n++;
	if (n < 2)
		return false;
	for (; n < 36; n++)
		if (c[n])
			return false;
	return (c[36] || c[37]) && !c[38] && !c[39];
}

const struct type *type_guess(uint64_t features, const unsigned char *config,
			      size_t len, unsigned queues)
{
	/* Bits 0 to 23 and 50 to 63 belong to the type. */
	uint64_t own = features & (0xffffffull | 0x3fffull << 50);

	/* Bits from 18 on are the network's alone. */
	if (own >> 18)
		return type_by_name("net");
	if (features >> 9 & 1 && features >> 2 & 1 && len)
		return type_by_name("blk");
	if (own >> 15 & 1 || own >> 17 & 1)
		return type_by_name("net");
	if (!(own & ~1ull) && looks_like_fs(config, len))
		return type_by_name("fs");
	if (own & 4 && !(own & ~7ull) && queues >= 2)
		return type_by_name("console");
	if (!own && !len && queues == 1)
		return type_by_name("rng");
	return NULL;
}

static const char *name_in(const struct type_feature *f, unsigned bit)
{
	for (; f->name; f++)
		if (f->bit == bit)
			return f->name;
	return NULL;
}

const char *type_feature_name(const struct type *type, unsigned bit)
{
	const char *name = type ? name_in(type->features, bit) : NULL;

	return name ? name : name_in(ring_features, bit);
}

uint64_t field_value(const struct type_field *f, const unsigned char *config)
{
	uint64_t v = 0;

	for (unsigned i = f->len; i--;)
		v = v << 8 | config[f->offset + i];
	return v;
}
