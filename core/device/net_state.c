/* SPDX-License-Identifier: MIT */
/*
 * net_state.c - what the driver told the device by its commands, as bytes, so
 * that another process goes on with it: records of a kind, a length and what
 * doc/device-state.md says. It knows no stream and no process. What comes in
 * is checked as a command of a driver would be, all of it before any of it
 * takes effect.
 */
#include "core/device/net_hash.h"
#include "core/device/net_int.h"
#include "core/device/net_steer.h"
#include "core/base/string.h"
#include <vireo/state.h>

/* Tags of records; what stands in each, in bytes. */
enum tag {
	FILTER = 1,		/* flags: 2, own address: 6 */
	UNI = 2, MULTI = 3,	/* addresses of 6 */
	VLAN = 4,		/* a bit for each of 4096 */
	OFFLOADS = 5,		/* features: 8 */
	STEERING = 6,		/* rss: 1, pairs: 1, mask: 2, unclassified: 2,
				 * hash types: 4, key: 40, pairs of the table */
	COALESCING = 7,		/* packets, usecs: 4 each; all receive, all
				 * transmit queues, then each queue */
};

#define STEERING_LEN	(10u + VIO_NET_HASH_KEY)
#define RECORD_MAX	512u

VIO_STATIC_ASSERT(8 * (2 + 2 * VIO_NET_PAIRS) <= RECORD_MAX, "COALESCING");

/* -- bytes, little-endian -------------------------------------------------- */

/* A record in the making. */
struct out {
	unsigned char at[RECORD_MAX];
	uint32_t len;
};

static void put(struct out *o, uint64_t v, unsigned bytes)
{
	for (; bytes; bytes--, v >>= 8)
		o->at[o->len++] = (unsigned char)v;
}

static void put_bytes(struct out *o, const void *src, uint32_t len)
{
	const unsigned char *p = src;

	for (uint32_t i = 0; i < len; i++)
		put(o, p[i], 1);
}

static void put_record(struct vio_state_out *to, enum tag tag, struct out *o)
{
	vio_state_put(to, (uint16_t)tag, VIO_STATE_MUST, o->at, o->len);
	o->len = 0;
}

static uint64_t get(const unsigned char *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

/* -- out ------------------------------------------------------------------- */

/* The flags of a filter, from bit 0 on. */
#define FLAGS	9u

static void filter_flags(struct vio_net_filter *f, bool *knows,
			 bool *flag[FLAGS])
{
	flag[0] = &f->promisc;
	flag[1] = &f->allmulti;
	flag[2] = &f->alluni;
	flag[3] = &f->nomulti;
	flag[4] = &f->nouni;
	flag[5] = &f->nobcast;
	flag[6] = &f->uni_all;
	flag[7] = &f->multi_all;
	flag[8] = knows;
}

static void save_filter(struct vio_state_out *to, struct out *o,
			struct vio_net *net)
{
	struct vio_net_filter *f = &net->filter;
	bool knows = __atomic_load_n(&net->knows, __ATOMIC_RELAXED);
	bool *flag[FLAGS];
	uint16_t flags = 0;

	filter_flags(f, &knows, flag);
	for (unsigned i = 0; i < FLAGS; i++)
		flags = (uint16_t)(flags | *flag[i] << i);
	put(o, flags, 2);
	put_bytes(o, f->mac, VIRTIO_NET_MAC_LEN);
	put_record(to, FILTER, o);
	put_bytes(o, f->uni, f->nr_uni * VIRTIO_NET_MAC_LEN);
	put_record(to, UNI, o);
	put_bytes(o, f->multi, f->nr_multi * VIRTIO_NET_MAC_LEN);
	put_record(to, MULTI, o);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(f->vlan); i++)
		put(o, f->vlan[i], 4);
	put_record(to, VLAN, o);
}

/*
 * What each half byte adds was made of the key: the 32 bits of it that begin
 * where the half byte does. The key's last bit is in none of them.
 */
static void save_key(struct out *o, const struct vio_net_toeplitz *t)
{
	uint32_t last = t->part[71][1] << 1;

	for (unsigned i = 0; i < 72; i += 8)
		for (unsigned shift = 32; shift; shift -= 8)
			put(o, t->part[i][8] >> (shift - 8), 1);
	for (unsigned shift = 32; shift; shift -= 8)
		put(o, last >> (shift - 8), 1);
}

static void save_steering(struct vio_state_out *to, struct out *o,
			  const struct vio_net_steering *s)
{
	put(o, s->rss, 1);
	put(o, s->pairs, 1);
	put(o, s->table.mask, 2);
	put(o, s->table.unclassified, 2);
	put(o, s->hash_types, 4);
	save_key(o, &s->key);
	put_bytes(o, s->table.pair, s->table.mask + 1u);
	put_record(to, STEERING, o);
}

void vio_net_save(struct vio_dev *dev, struct vio_state_out *to)
{
	struct vio_net *net = vio_container_of(dev, struct vio_net, dev);
	struct out o = { .len = 0 };

	save_filter(to, &o, net);
	put(&o, net->guest_offloads, 8);
	put_record(to, OFFLOADS, &o);
	save_steering(to, &o, &net->steering);
	for (unsigned i = 0; i < 2; i++) {
		put(&o, net->coal_all[i].packets, 4);
		put(&o, net->coal_all[i].usecs, 4);
	}
	for (unsigned i = 0; i < vio_net_ioqs(net); i++) {
		put(&o, net->coal[i].packets, 4);
		put(&o, net->coal[i].usecs, 4);
	}
	put_record(to, COALESCING, &o);
}

/* -- in -------------------------------------------------------------------- */

static bool load_filter(struct vio_net *net, const unsigned char *p,
			uint32_t len)
{
	struct vio_net_filter *f = &net->filter;
	bool *flag[FLAGS], knows;
	uint64_t flags;

	if (len != 2 + VIRTIO_NET_MAC_LEN)
		return false;
	flags = get(p, 2);
	if (flags >> FLAGS)
		return false;
	filter_flags(f, &knows, flag);
	for (unsigned i = 0; i < FLAGS; i++)
		*flag[i] = flags >> i & 1;
	__atomic_store_n(&net->knows, knows, __ATOMIC_RELAXED);
	memcpy(f->mac, p + 2, VIRTIO_NET_MAC_LEN);
	vio_net_config_mac(net, 0, p + 2, VIRTIO_NET_MAC_LEN);
	return true;
}

static bool load_macs(uint8_t (*mac)[VIRTIO_NET_MAC_LEN], uint16_t *nr,
		      const unsigned char *p, uint32_t len)
{
	uint32_t n = len / VIRTIO_NET_MAC_LEN;

	if (len % VIRTIO_NET_MAC_LEN || n > VIO_NET_MACS)
		return false;
	memcpy(mac, p, len);
	*nr = (uint16_t)n;
	return true;
}

static bool load_vlan(struct vio_net *net, const unsigned char *p,
		      uint32_t len)
{
	uint32_t *vlan = net->filter.vlan;

	if (len != sizeof(net->filter.vlan))
		return false;
	for (unsigned i = 0; i < len / 4; i++)
		vlan[i] = (uint32_t)get(p + 4 * i, 4);
	return true;
}

static bool load_offloads(struct vio_net *net, const unsigned char *p,
			  uint32_t len)
{
	uint64_t v;

	if (len != 8)
		return false;
	v = get(p, 8);
	if (v & ~vio_net_switchable(net))
		return false;
	net->guest_offloads = v;
	return true;
}

static bool load_steering(struct vio_net *net, const unsigned char *p,
			  uint32_t len)
{
	struct vio_net_steering *s = &net->steering;
	const unsigned char *table = p + STEERING_LEN;
	uint32_t mask, unclassified, types;

	if (len <= STEERING_LEN)
		return false;
	mask = (uint32_t)get(p + 2, 2);
	unclassified = (uint32_t)get(p + 4, 2);
	types = (uint32_t)get(p + 6, 4);
	if (p[0] > 1 || !p[1] || p[1] > net->conf.pairs ||
	    mask >= VIO_NET_RSS_TABLE || (mask & (mask + 1)) ||
	    len != STEERING_LEN + mask + 1 ||
	    unclassified >= net->conf.pairs || types & ~VIO_NET_HASH_TYPES)
		return false;
	for (uint32_t i = 0; i <= mask; i++) {
		if (table[i] >= net->conf.pairs)
			return false;
	}
	s->rss = p[0];
	s->pairs = p[1];
	s->hash_types = types;
	s->table.mask = (uint16_t)mask;
	s->table.unclassified = (uint16_t)unclassified;
	memcpy(s->table.pair, table, mask + 1);
	vio_net_toeplitz_set(&s->key, p + 10, VIO_NET_HASH_KEY);
	__atomic_store_n(&net->learns, !s->rss &&
			 (s->pairs > 1 || !vio_net_is_told_pairs(net)),
			 __ATOMIC_RELAXED);
	vio_net_steering_tell(net);
	return true;
}

/* Of as many queues as both have. */
static bool load_coalescing(struct vio_net *net, const unsigned char *p,
			    uint32_t len)
{
	unsigned n = vio_net_ioqs(net);

	if (len % 8 || len < 16)
		return false;
	for (unsigned i = 0; i < len / 8 && i < 2 + n; i++, p += 8) {
		uint32_t packets = (uint32_t)get(p, 4);
		uint32_t usecs = (uint32_t)get(p + 4, 4);
		uint32_t *to_packets = i < 2 ? &net->coal_all[i].packets :
					       &net->coal[i - 2].packets;
		uint32_t *to_usecs = i < 2 ? &net->coal_all[i].usecs :
					     &net->coal[i - 2].usecs;

		__atomic_store_n(to_packets, packets, __ATOMIC_RELAXED);
		__atomic_store_n(to_usecs, usecs, __ATOMIC_RELAXED);
	}
	return true;
}

static int load_record(struct vio_net *net,
		       const struct vio_state_record *r)
{
	struct vio_net_filter *f = &net->filter;
	bool ok;

	switch (r->tag) {
	case FILTER:
		ok = load_filter(net, r->p, r->len);
		break;
	case UNI:
		ok = load_macs(f->uni, &f->nr_uni, r->p, r->len);
		break;
	case MULTI:
		ok = load_macs(f->multi, &f->nr_multi, r->p, r->len);
		break;
	case VLAN:
		ok = load_vlan(net, r->p, r->len);
		break;
	case OFFLOADS:
		ok = load_offloads(net, r->p, r->len);
		break;
	case STEERING:
		ok = load_steering(net, r->p, r->len);
		break;
	case COALESCING:
		ok = load_coalescing(net, r->p, r->len);
		break;
	default:
		return VIO_E_UNSUPP;
	}
	return ok ? VIO_OK : VIO_E_PEER;
}

/* A back end brings packets to pairs' threads all the while. */
int vio_net_load(struct vio_dev *dev, const struct vio_state_record *r)
{
	struct vio_net *net = vio_container_of(dev, struct vio_net, dev);
	int rc;

	vio_net_lock(net);
	rc = load_record(net, r);
	vio_net_unlock(net);
	return rc;
}
