/* SPDX-License-Identifier: MIT */
/*
 * cursor.c - the bytes of a request: read, write, look at in place. Where a
 * descriptor ends and the next begins plays no part; byte counts do. It knows
 * no ring and no device.
 */
#include <vireo/queue.h>
#include "core/mem/access.h"

struct vio_cursor vio_req_reader(struct vio_req *req)
{
	struct vio_cursor c = { req, req->seg, 0, 0, req->read_len };

	return c;
}

struct vio_cursor vio_req_writer(struct vio_req *req)
{
	struct vio_cursor c = { req, req->seg + req->nr_read, 0, 0,
				req->write_len };

	return c;
}

bool vio_cursor_limit(struct vio_cursor *c, uint32_t len)
{
	if (len > c->left)
		return false;
	c->left = len;
	return true;
}

/*
 * The next piece, up to @len bytes, which are left. Segments are never empty,
 * so each step gets on; the sum of their lengths is what left started from.
 */
static void *piece(struct vio_cursor *c, uint32_t len, uint32_t *got)
{
	unsigned char *p = (unsigned char *)c->seg->base + c->seg_off;
	size_t room = c->seg->len - c->seg_off;

	*got = len < room ? len : (uint32_t)room;
	c->seg_off += *got;
	c->pos += *got;
	c->left -= *got;
	if (c->seg_off == c->seg->len) {
		c->seg++;
		c->seg_off = 0;
	}
	return p;
}

bool vio_cursor_skip(struct vio_cursor *c, uint32_t len)
{
	uint32_t got;

	if (len > c->left)
		return false;
	for (; len; len -= got)
		piece(c, len, &got);
	return true;
}

bool vio_cursor_read(struct vio_cursor *c, void *dst, uint32_t len)
{
	unsigned char *to = dst;
	uint32_t got;

	if (len > c->left)
		return false;
	for (; len; len -= got, to += got) {
		const void *p = piece(c, len, &got);

		vio_copy_in(to, p, got);
	}
	return true;
}

/* Bytes @off to @off + @len of the writable part were written. */
static void account(struct vio_req *req, uint32_t off, uint32_t len)
{
	if (off <= req->written && len > req->written - off)
		req->written = off + len;
}

static void mark(struct vio_req *req, const void *p, uint32_t len)
{
	const struct vio_queue *q = req->queue;

	if (vio_unlikely(vio_mem_is_logged(q->maps[req->map].mem)))
		vio_mem_wrote(q->maps[req->map].mem, p, len);
}

bool vio_cursor_write(struct vio_cursor *c, const void *src, uint32_t len)
{
	const unsigned char *from = src;
	uint32_t got;

	if (len > c->left)
		return false;
	account(c->req, c->pos, len);
	for (; len; len -= got, from += got) {
		void *p = piece(c, len, &got);

		vio_copy_out(p, from, got);
		mark(c->req, p, got);
	}
	return true;
}

bool vio_cursor_zero(struct vio_cursor *c, uint32_t len)
{
	uint32_t got;

	if (len > c->left)
		return false;
	account(c->req, c->pos, len);
	for (; len; len -= got) {
		void *p = piece(c, len, &got);

		memset(p, 0, got);
		mark(c->req, p, got);
	}
	return true;
}

unsigned vio_cursor_spans(struct vio_cursor *c, uint32_t len,
			  struct vio_seg *seg, unsigned max, uint32_t *taken)
{
	uint32_t got, sum = 0;
	unsigned n = 0;

	if (len > c->left)
		len = c->left;
	for (; len && n < max; len -= got, sum += got, n++) {
		seg[n].base = piece(c, len, &got);
		seg[n].len = got;
	}
	*taken = sum;
	return n;
}

uint32_t vio_req_fill(struct vio_req *req, uint32_t most,
		      size_t (*fn)(void *ctx, void *dst, size_t len),
		      void *ctx)
{
	struct vio_cursor c = vio_req_writer(req);
	uint32_t sum = 0, len = 0;
	size_t got = 0;

	while (c.left && sum < most && got == len) {
		void *dst = piece(&c, most - sum < c.left ? most - sum :
							    c.left, &len);

		got = fn(ctx, dst, len);
		/* More than was asked for is a back end's mistake. */
		if (vio_unlikely(got > len))
			got = len;
		sum += (uint32_t)got;
	}
	vio_req_wrote(req, 0, sum);
	return sum;
}

void vio_req_wrote(struct vio_req *req, uint32_t off, uint32_t len)
{
	struct vio_cursor c;
	uint32_t got;

	account(req, off, len);
	if (vio_likely(!vio_mem_is_logged(req->queue->maps[req->map].mem)))
		return;
	c = vio_req_writer(req);
	if (!vio_cursor_skip(&c, off) || !vio_cursor_limit(&c, len))
		return;
	while (c.left) {
		const void *p = piece(&c, c.left, &got);

		mark(req, p, got);
	}
}

bool vio_req_get(struct vio_req *req, void *dst, uint32_t len)
{
	struct vio_cursor c;

	if (len > req->read_len)
		return false;
	/* A header is nearly always a segment of its own. */
	if (vio_likely(len && req->seg->len >= len)) {
		vio_copy_in(dst, req->seg->base, len);
		return true;
	}
	c = vio_req_reader(req);
	return vio_cursor_read(&c, dst, len);
}

bool vio_req_put(struct vio_req *req, uint32_t off, const void *src,
		 uint32_t len)
{
	struct vio_cursor c;

	if (len > req->write_len || off > req->write_len - len)
		return false;
	/* A status byte at the end is nearly always a segment of its own. */
	if (vio_likely(off == req->write_len - len && req->nr_write)) {
		const struct vio_seg *last = req->seg + req->nr_read +
			req->nr_write - 1;

		if (last->len == len) {
			account(req, off, len);
			vio_copy_out(last->base, src, len);
			mark(req, last->base, len);
			return true;
		}
	}
	c = vio_req_writer(req);
	return vio_cursor_skip(&c, off) && vio_cursor_write(&c, src, len);
}

/*
 * Make a segment begin at byte @off of a part that starts at segment @first
 * and has *@nr_part segments; *@nr_part grows if one had to be split. @off is
 * inside the part or its end. Returns the index of that segment.
 */
static unsigned split_at(struct vio_req *req, unsigned first,
			 uint16_t *nr_part, uint32_t off)
{
	unsigned end = req->nr_read + req->nr_write, i = first;
	struct vio_seg *s = req->seg;
	size_t skip = off;

	while (i < first + *nr_part && skip >= s[i].len)
		skip -= s[i++].len;
	if (!skip)
		return i;
	memmove(&s[i + 1], &s[i], (end - i) * sizeof(*s));
	s[i].len = skip;
	s[i + 1].base = (unsigned char *)s[i + 1].base + skip;
	s[i + 1].len -= skip;
	++*nr_part;
	return i + 1;
}

const struct vio_seg *vio_req_payload(struct vio_req *req, bool writable,
				      uint32_t off, uint32_t len, unsigned *nr)
{
	uint16_t *part = writable ? &req->nr_write : &req->nr_read;
	uint32_t all = writable ? req->write_len : req->read_len;
	unsigned first = writable ? req->nr_read : 0, from, to;
	const struct vio_seg *s = req->seg + first;
	uint32_t rest;

	if (!len || len > all || off > all - len)
		return NULL;
	rest = all - len - off;
	/* What is before and behind it nearly always has segments of its
	 * own: it is not empty, so neither is any segment. */
	if (vio_likely((!off || s->len == off) &&
		       (!rest || s[*part - 1].len == rest))) {
		*nr = *part - (off != 0) - (rest != 0);
		return s + (off != 0);
	}
	from = split_at(req, first, part, off);
	to = split_at(req, first, part, off + len);
	*nr = to - from;
	return req->seg + from;
}
