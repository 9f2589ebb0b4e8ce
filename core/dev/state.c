/* SPDX-License-Identifier: MIT */
/*
 * state.c - the form of a device's state: see vireo/state.h. The bytes may
 * come from anybody; each is read once, and no length is believed.
 */
#include <vireo/dev.h>
#include <vireo/state.h>
#include "core/base/string.h"

#define HEADER	8u
#define RECORD	8u

static void put(struct vio_state_out *out, const void *src, uint32_t len)
{
	if (out->len <= out->room && len && len <= out->room - out->len)
		memcpy(out->p + out->len, src, len);
	/* What cannot be counted does not fit for certain. */
	out->len = len > UINT32_MAX - out->len ? UINT32_MAX : out->len + len;
}

static void put16(struct vio_state_out *out, uint16_t v)
{
	const unsigned char b[2] = { (unsigned char)v,
				     (unsigned char)(v >> 8) };

	put(out, b, sizeof(b));
}

static void put32(struct vio_state_out *out, uint32_t v)
{
	put16(out, (uint16_t)v);
	put16(out, (uint16_t)(v >> 16));
}

static uint16_t get16(const unsigned char *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const unsigned char *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

void vio_state_begin(struct vio_state_out *out, void *p, uint32_t room,
		     uint32_t device_id)
{
	*out = (struct vio_state_out){ .p = p, .room = room };
	put32(out, VIO_STATE_MAGIC);
	put16(out, VIO_STATE_VERSION);
	put16(out, (uint16_t)device_id);
}

void vio_state_put(struct vio_state_out *out, uint16_t tag, uint16_t flags,
		   const void *src, uint32_t len)
{
	put16(out, tag);
	put16(out, flags);
	put32(out, len);
	put(out, src, len);
}

void vio_state_put32(struct vio_state_out *out, uint16_t tag, uint16_t flags,
		     uint32_t v)
{
	const unsigned char b[4] = {
		(unsigned char)v, (unsigned char)(v >> 8),
		(unsigned char)(v >> 16), (unsigned char)(v >> 24),
	};

	vio_state_put(out, tag, flags, b, sizeof(b));
}

uint32_t vio_state_end(struct vio_state_out *out)
{
	uint32_t all = out->len;

	all = all > UINT32_MAX - RECORD - 4 ? UINT32_MAX : all + RECORD + 4;
	vio_state_put32(out, 0, 0, all);
	return out->len;
}

int vio_state_next(const void *p, uint32_t len, uint32_t device_id,
		   uint32_t *pos, struct vio_state_record *r)
{
	const unsigned char *b = p;
	uint32_t left, at = *pos ? *pos : HEADER;

	if (len > VIO_STATE_MAX || len < HEADER + RECORD || at > len)
		return VIO_E_PEER;
	if (!*pos && (get32(b) != VIO_STATE_MAGIC ||
		      get16(b + 4) != VIO_STATE_VERSION ||
		      get16(b + 6) != device_id))
		return VIO_E_PEER;
	left = len - at;
	if (left < RECORD)
		return VIO_E_PEER;
	*r = (struct vio_state_record){
		.tag = get16(b + at), .flags = get16(b + at + 2),
		.len = get32(b + at + 4), .p = b + at + RECORD,
	};
	left -= RECORD;
	if (r->len > left)
		return VIO_E_PEER;
	*pos = at + RECORD + r->len;
	if (r->tag)
		return VIO_OK;
	return r->len == 4 && left == 4 && get32(r->p) == len ?
		VIO_E_AGAIN : VIO_E_PEER;
}

int vio_state_get32(const struct vio_state_record *r, uint32_t *v)
{
	if (r->len != 4)
		return VIO_E_PEER;
	*v = get32(r->p);
	return VIO_OK;
}

/* -- a device's ------------------------------------------------------------ */

uint32_t vio_dev_save(struct vio_dev *dev, void *p, uint32_t room)
{
	struct vio_state_out out;

	vio_state_begin(&out, p, room, dev->ops->id);
	if (dev->ops->save)
		dev->ops->save(dev, &out);
	if (dev->outer && dev->outer->save)
		dev->outer->save(dev->outer_ctx, &out);
	return vio_state_end(&out);
}

static int load_one(struct vio_dev *dev, const struct vio_state_record *r)
{
	int err = VIO_E_UNSUPP;

	if (r->tag >= VIO_STATE_OUTER) {
		if (dev->outer && dev->outer->load)
			err = dev->outer->load(dev->outer_ctx, r);
	} else if (dev->ops->load) {
		err = dev->ops->load(dev, r);
	}
	if (err == VIO_E_UNSUPP && !(r->flags & VIO_STATE_MUST))
		return VIO_OK;
	return err;
}

int vio_dev_load(struct vio_dev *dev, const void *p, uint32_t len)
{
	struct vio_state_record r;
	uint32_t pos = 0;
	int err;

	/* All of it is whole, before any of it counts. */
	do
		err = vio_state_next(p, len, dev->ops->id, &pos, &r);
	while (err == VIO_OK);
	if (err != VIO_E_AGAIN)
		return VIO_E_PEER;
	pos = 0;
	while (vio_state_next(p, len, dev->ops->id, &pos, &r) == VIO_OK) {
		err = load_one(dev, &r);
		if (err != VIO_OK)
			return VIO_E_PEER;
	}
	return VIO_OK;
}
