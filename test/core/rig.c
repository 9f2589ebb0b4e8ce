/* SPDX-License-Identifier: MIT */
/*
 * rig.c - see rig.h. It writes rings by hand and judges nothing.
 */
#include "test/core/rig.h"
#include "vtest.h"

#define AVAIL_AT	0x400u
#define USED_AT		0x800u

static void on_notify(void *ctx, struct vio_queue *q)
{
	struct rig *r = ctx;

	(void)q;
	r->notifies++;
}

static void on_ready(void *ctx, struct vio_queue *q)
{
	struct rig *r = ctx;

	(void)q;
	r->ready++;
}

static void on_config(void *ctx)
{
	struct rig *r = ctx;

	r->config_changes++;
}

static void on_log(void *ctx, enum vio_log_level level, const char *text,
		   const struct vio_named *v, unsigned nr)
{
	struct rig *r = ctx;

	(void)level;
	(void)v;
	(void)nr;
	r->logs++;
	r->log_text = text;
}

static const struct vio_transport_ops transport = {
	.queue_notify = on_notify,
	.queue_ready = on_ready,
	.config_changed = on_config,
};

void rig_init(struct rig *r, struct vio_queue *queue, unsigned nr_queues,
	      uint16_t ctx_size)
{
	const struct vio_queue_limits limits = {
		RIG_SIZE, RIG_SEG_MAX, ctx_size };

	memset(r, 0, sizeof(*r));
	r->region[0] = (struct vio_region){ .addr = { RIG_LOW },
		.size = RIG_LEN, .host = r->low, .user_addr = 0x7000000,
		.perm = VIO_PERM_RW };
	r->region[1] = (struct vio_region){ .addr = { RIG_HIGH },
		.size = RIG_LEN, .host = r->high, .user_addr = 0x9000000,
		.perm = VIO_PERM_RW };
	CHECK_EQ(vio_mem_init(&r->mem, r->region, 2), VIO_OK);
	r->queue = queue;
	CHECK_LE(nr_queues, 8);
	for (unsigned i = 0; i < nr_queues; i++)
		CHECK_EQ(vio_queue_init(&queue[i], NULL, i, &limits,
					r->storage[i], RIG_STORAGE), VIO_OK);
	r->layout = (struct vio_queue_layout){ RIG_SIZE, { RIG_LOW },
		{ RIG_LOW + AVAIL_AT }, { RIG_LOW + USED_AT } };
}

void rig_start(struct rig *r, struct vio_dev *dev,
	       const struct vio_features *features)
{
	rig_start_at(r, dev, features, VIO_QUEUE_NEW_SPLIT);
}

void rig_start_at(struct rig *r, struct vio_dev *dev,
		  const struct vio_features *features, uint16_t base)
{
	const struct vio_log log = { on_log, r };
	struct vio_features f = *features;

	if (base == VIO_QUEUE_NEW_SPLIT)
		vio_feature_clear(&f, VIRTIO_F_RING_PACKED);
	r->dev = dev;
	vio_dev_attach(dev, &transport, r, &log);
	vio_dev_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE);
	vio_dev_set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE |
			   VIRTIO_STATUS_DRIVER);
	CHECK_EQ(vio_dev_set_features(dev, &f), VIO_OK);
	vio_dev_set_status(dev, 11);
	CHECK_EQ(vio_dev_status(dev), 11);
	CHECK_EQ(vio_queue_start(&r->queue[0], &r->mem, &r->layout, base, base),
		 VIO_OK);
	vio_dev_set_status(dev, 15);
	CHECK_EQ(vio_dev_status(dev), 15);
	r->avail_idx = 0;
	r->used_seen = 0;
	r->ready = 0;
}

void rig_start_plain(struct rig *r, struct vio_dev *dev)
{
	struct vio_features f = *vio_dev_offered(dev);

	vio_feature_clear(&f, VIRTIO_F_EVENT_IDX);
	rig_start(r, dev, &f);
}

void rig_start_legacy(struct rig *r, struct vio_dev *dev)
{
	const struct vio_log log = { on_log, r };
	struct vio_features f = *vio_dev_offered(dev);

	f.w[0] &= 0xffffff;
	f.w[1] = 0;
	r->dev = dev;
	vio_dev_attach(dev, &transport, r, &log);
	/* The rig writes rings so, on any machine. */
	vio_dev_set_guest_endian(dev, false);
	vio_dev_set_status(dev, 3);
	CHECK_EQ(vio_dev_set_features(dev, &f), VIO_OK);
	CHECK_EQ(vio_queue_start(&r->queue[0], &r->mem, &r->layout,
				 VIO_QUEUE_NEW_SPLIT, VIO_QUEUE_NEW_SPLIT),
		 VIO_OK);
	vio_dev_set_status(dev, 7);
	CHECK_EQ(vio_dev_status(dev), 7);
}

void *rig_at(struct rig *r, uint64_t addr)
{
	if (addr >= RIG_HIGH)
		return r->high + (addr - RIG_HIGH);
	return r->low + (addr - RIG_LOW);
}

static void put_desc(void *at, uint64_t addr, uint32_t len, uint16_t flags,
		     uint16_t next)
{
	struct virtq_desc d = { vio_to_le64(addr), vio_to_le32(len),
				vio_to_le16(flags), vio_to_le16(next) };

	memcpy(at, &d, sizeof(d));
}

void rig_desc(struct rig *r, unsigned i, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next)
{
	put_desc(r->low + i * sizeof(struct virtq_desc), addr, len, flags,
		 next);
}

void rig_indirect(struct rig *r, uint64_t table, unsigned i, uint64_t addr,
		  uint32_t len, uint16_t flags, uint16_t next)
{
	put_desc((char *)rig_at(r, table) + i * sizeof(struct virtq_desc),
		 addr, len, flags, next);
}

static struct virtq_avail *avail(struct rig *r)
{
	return (struct virtq_avail *)(r->low + AVAIL_AT);
}

static struct virtq_used *used(struct rig *r)
{
	return (struct virtq_used *)(r->low + USED_AT);
}

void rig_avail(struct rig *r, uint16_t head)
{
	vio_le16 *ring = (vio_le16 *)(avail(r) + 1);

	ring[r->avail_idx % RIG_SIZE] = vio_to_le16(head);
	avail(r)->idx = vio_to_le16(++r->avail_idx);
}

enum vio_service rig_kick(struct rig *r)
{
	return vio_queue_service(&r->queue[0], 64);
}

bool rig_used(struct rig *r, uint32_t *id, uint32_t *len)
{
	struct virtq_used_elem *ring = (struct virtq_used_elem *)(used(r) + 1);
	struct virtq_used_elem *e = &ring[r->used_seen % RIG_SIZE];

	if (vio_from_le16(used(r)->idx) == r->used_seen)
		return false;
	r->used_seen++;
	*id = vio_from_le32(e->id);
	*len = vio_from_le32(e->len);
	return true;
}

vio_le16 *rig_avail_flags(struct rig *r)
{
	return &avail(r)->flags;
}

vio_le16 *rig_used_event(struct rig *r)
{
	return (vio_le16 *)(avail(r) + 1) + RIG_SIZE;
}

vio_le16 *rig_avail_event(struct rig *r)
{
	struct virtq_used_elem *ring = (struct virtq_used_elem *)(used(r) + 1);

	return (vio_le16 *)(ring + RIG_SIZE);
}

vio_le16 *rig_used_flags(struct rig *r)
{
	return &used(r)->flags;
}

bool rig_broken(const struct rig *r)
{
	return r->queue[0].state == VIO_QUEUE_BROKEN && r->logs == 1 &&
	       (vio_dev_status(r->dev) & VIRTIO_STATUS_NEEDS_RESET) &&
	       r->config_changes == 1;
}
