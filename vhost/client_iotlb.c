/* SPDX-License-Identifier: MIT */
/*
 * vhost/client_iotlb.c - the front end as the IOMMU before a device
 * (ACCESS_PLATFORM): which I/O address is which address of ours, told when the
 * back end misses it, and taken back. It knows no page table: that is
 * ops->translate's, and without one I/O addresses are guest addresses.
 *
 * A miss may come while we wait for an answer. It is kept until that is there,
 * since answers come in the order of questions.
 */
#include "vhost/client.h"

#include <errno.h>
#include <vireo/spec/virtio.h>

bool vhu_client_has_iommu(const struct vhu_client *c)
{
	return c->features >> VIRTIO_F_ACCESS_PLATFORM & 1;
}

/* All of the region of guest memory that the address is in. */
static int identity(const struct vhu_client *c, uint64_t iova,
		    struct vhu_client_map *map)
{
	for (unsigned i = 0; i < c->nr_slots; i++) {
		const struct vhu_region *r = &c->slot[i].region;

		if (iova < r->guest_addr || iova - r->guest_addr >= r->size)
			continue;
		map->iova = r->guest_addr;
		map->size = r->size;
		map->host = (unsigned char *)(uintptr_t)r->user_addr;
		map->perm = VIO_PERM_RW;
		return 0;
	}
	return -EFAULT;
}

static int translate(struct vhu_client *c, uint64_t iova, unsigned perm,
		     struct vhu_client_map *map)
{
	const struct vhu_client_ops *ops = c->conf.ops;
	int err = ops && ops->translate ?
		ops->translate(c->conf.ops_ctx, iova, perm, map) :
		identity(c, iova, map);

	if (!err && (perm & ~map->perm))
		err = -EACCES;
	return err;
}

void *vhu_client_host_of(struct vhu_client *c, uint64_t iova)
{
	struct vhu_client_map map;

	if (translate(c, iova, VIO_PERM_READ, &map))
		return NULL;
	return (unsigned char *)map.host + (iova - map.iova);
}

uint64_t vhu_client_guest_of(const struct vhu_client *c, const void *host)
{
	for (unsigned i = 0; i < c->nr_slots; i++) {
		const struct vhu_region *r = &c->slot[i].region;

		if ((uintptr_t)host >= r->user_addr &&
		    (uintptr_t)host - r->user_addr < r->size)
			return r->guest_addr +
			       ((uintptr_t)host - r->user_addr);
	}
	return 0;
}

/* -- what we tell --------------------------------------------------------- */

static int tell_iotlb(struct vhu_client *c, const struct vhu_client_map *map,
		      uint8_t type)
{
	int err;

	/* Some acknowledge it always, some where they are asked to. */
	vhu_msg_init(&c->out, VHOST_USER_IOTLB_MSG, VHU_NEED_REPLY,
		     sizeof(c->out.p.iotlb));
	c->out.p.iotlb.iova = map->iova;
	c->out.p.iotlb.size = map->size;
	c->out.p.iotlb.user_addr = (uintptr_t)map->host;
	c->out.p.iotlb.perm = (uint8_t)map->perm;
	c->out.p.iotlb.type = type;
	err = vhu_ask(c, sizeof(uint64_t));
	return !err && c->sock.in.p.u64 ? -EIO : err;
}

static int tell_place(struct vhu_client *c, uint64_t iova, unsigned perm)
{
	struct vhu_client_map map;
	int err = translate(c, iova, perm, &map);

	return err ? err : tell_iotlb(c, &map, VHU_IOTLB_UPDATE);
}

/* Each would be missed at once. */
int vhu_client_tell_ring(struct vhu_client *c, const struct vio_queue_layout *l)
{
	int err;

	if (!vhu_client_has_iommu(c))
		return 0;
	err = tell_place(c, l->desc.v, VIO_PERM_READ);
	if (!err)
		err = tell_place(c, l->driver.v, VIO_PERM_READ);
	if (!err)
		err = tell_place(c, l->device.v, VIO_PERM_RW);
	return err;
}

int vhu_client_invalidate(struct vhu_client *c, uint64_t iova, uint64_t size)
{
	struct vhu_client_map map = { .iova = iova, .size = size };

	if (!vhu_client_has_iommu(c))
		return -EOPNOTSUPP;
	return tell_iotlb(c, &map, VHU_IOTLB_INVALIDATE);
}

/* -- what it asks --------------------------------------------------------- */

int vhu_client_on_iotlb(struct vhu_client *c, struct vhu_msg *msg)
{
	const struct vhu_iotlb *q = &msg->p.iotlb;
	struct vhu_client_map map;
	unsigned perm = q->perm & VIO_PERM_RW;

	if (q->type == VHU_IOTLB_ACCESS_FAIL)
		return 0;
	if (q->type != VHU_IOTLB_MISS)
		return -EINVAL;
	/* Some say by 0 that they do not know yet. */
	if (!perm)
		perm = VIO_PERM_READ;
	if (translate(c, q->iova, perm, &map))
		return -EFAULT;
	if (c->nr_missed == VHU_CLIENT_MISSES)
		return -EAGAIN;
	c->missed[c->nr_missed].iova = q->iova;
	c->missed[c->nr_missed++].perm = perm;
	return 0;
}

int vhu_client_tell_missed(struct vhu_client *c)
{
	struct vhu_msg answer;
	uint32_t have = c->sock.have;
	int err = 0;

	if (!c->nr_missed || c->asking || c->telling)
		return 0;
	c->telling = true;
	/* Whoever asked last may not have read the answer yet. */
	answer = c->sock.in;
	c->sock.in.nr_fds = 0;
	for (unsigned i = 0; i < VHU_CLIENT_MISSES && c->nr_missed && !err;
	     i++) {
		struct vhu_client_miss m = c->missed[--c->nr_missed];

		/* What went meanwhile is not there, or not wanted. */
		err = tell_place(c, m.iova, m.perm);
		if (err == -EFAULT || err == -EACCES || err == -EIO)
			err = 0;
	}
	c->telling = false;
	vhu_msg_drop_fds(&c->sock.in);
	c->sock.in = answer;
	c->sock.have = have;
	return err;
}
