/* SPDX-License-Identifier: MIT */
/* Events as bytes and lines, and their files: see tapfile.h. */
#include "host/tapfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEAD		16u
#define AVAIL_LEN	20u
#define USED_LEN	20u
#define STATE_LEN	36u

#define FROM_BACK	1u
#define BACK_CHANNEL	2u

/* -- numbers, little-endian ----------------------------------------------- */

static void put(unsigned char **at, uint64_t v, unsigned len)
{
	for (; len; len--, v >>= 8)
		*(*at)++ = (unsigned char)v;
}

static uint64_t get(const unsigned char **at, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v |= (uint64_t)*(*at)++ << (8 * i);
	return v;
}

/* -- events as bytes ------------------------------------------------------ */

static void put_state(unsigned char **at, const struct ring_state *s)
{
	put(at, s->configured | s->started << 1 | s->enabled << 2 |
	    s->broken << 3 | s->packed << 4 | s->event_idx << 5 |
	    s->kicked << 6 | s->called << 7, 1);
	put(at, s->overrun | s->used_more << 1 | s->connected << 2, 1);
	put(at, s->kick, 1);
	put(at, s->call, 1);
	put(at, s->want_kick, 1);
	put(at, s->want_call, 1);
	put(at, s->size, 2);
	put(at, s->kick_at, 2);
	put(at, s->call_at, 2);
	put(at, s->avail_idx, 2);
	put(at, s->avail_now, 2);
	put(at, s->used_now, 2);
	put(at, s->avail_at_kick, 2);
	put(at, s->used_at_call, 2);
	put(at, s->oldest_head, 2);
	put(at, s->pending, 4);
	put(at, s->oldest_ms, 4);
	put(at, 0, 4);
}

static void get_state(const unsigned char *in, struct ring_state *s)
{
	unsigned a = (unsigned)get(&in, 1), b = (unsigned)get(&in, 1);

	s->configured = a & 1;
	s->started = a & 2;
	s->enabled = a & 4;
	s->broken = a & 8;
	s->packed = a & 16;
	s->event_idx = a & 32;
	s->kicked = a & 64;
	s->called = a & 128;
	s->overrun = b & 1;
	s->used_more = b & 2;
	s->connected = b & 4;
	s->kick = (enum ring_way)(get(&in, 1) % (RING_WAY_UNKNOWN + 1));
	s->call = (enum ring_way)(get(&in, 1) % (RING_WAY_UNKNOWN + 1));
	s->want_kick = (enum vio_want)(get(&in, 1) % (VIO_WANT_AT + 1));
	s->want_call = (enum vio_want)(get(&in, 1) % (VIO_WANT_AT + 1));
	s->size = (uint16_t)get(&in, 2);
	s->kick_at = (uint16_t)get(&in, 2);
	s->call_at = (uint16_t)get(&in, 2);
	s->avail_idx = (uint16_t)get(&in, 2);
	s->avail_now = (uint16_t)get(&in, 2);
	s->used_now = (uint16_t)get(&in, 2);
	s->avail_at_kick = (uint16_t)get(&in, 2);
	s->used_at_call = (uint16_t)get(&in, 2);
	s->oldest_head = (uint16_t)get(&in, 2);
	s->pending = (uint32_t)get(&in, 4);
	s->oldest_ms = (uint32_t)get(&in, 4);
	s->sees_signals = true;
	s->untaken = -1;
}

static void put_message(unsigned char **at, const struct tap_event *e)
{
	unsigned nr = e->msg.nr_fds < VHU_FDS_MAX ? e->msg.nr_fds :
						    VHU_FDS_MAX;
	uint32_t size = e->msg.hdr.size < VHU_PAYLOAD_MAX ?
		e->msg.hdr.size : (uint32_t)VHU_PAYLOAD_MAX;

	put(at, e->msg.hdr.request, 4);
	put(at, e->msg.hdr.flags, 4);
	put(at, size, 4);
	memcpy(*at, &e->msg.p, size);
	*at += size;
	for (unsigned i = 0; i < nr; i++, *at += TAP_FD_NAME)
		memcpy(*at, e->fd_name[i], TAP_FD_NAME);
}

size_t tap_encode(const struct tap_event *e, unsigned char *out)
{
	unsigned char *at = out + HEAD, *head = out;
	size_t n;

	switch (e->kind) {
	case TAP_MESSAGE:
		put_message(&at, e);
		break;
	case TAP_AVAIL:
		put(&at, e->head, 4);
		put(&at, e->position, 4);
		put(&at, e->descriptors, 4);
		put(&at, e->read_len, 4);
		put(&at, e->write_len, 4);
		break;
	case TAP_USED:
		put(&at, e->head, 4);
		put(&at, e->position, 4);
		put(&at, e->used_len, 4);
		put(&at, e->age_ns, 8);
		break;
	case TAP_STATE:
		put_state(&at, &e->state);
		break;
	case TAP_END:
	case TAP_NOTE:
		n = strnlen(e->text, TAP_TEXT_MAX);
		memcpy(at, e->text, n);
		at += n;
		break;
	default:
		break;
	}
	put(&head, 1, 1);
	put(&head, e->kind, 1);
	put(&head, (e->from_back ? FROM_BACK : 0) |
	    (e->back_channel ? BACK_CHANNEL : 0), 1);
	put(&head, e->kind == TAP_MESSAGE ? e->msg.nr_fds : 0, 1);
	put(&head, e->queue, 2);
	put(&head, 0, 2);
	put(&head, e->session, 4);
	put(&head, (uint64_t)(at - out - HEAD), 4);
	return (size_t)(at - out);
}

static bool get_message(struct tap_event *e, const unsigned char *in,
			size_t len, unsigned nr_fds)
{
	struct vhu_hdr *h = &e->msg.hdr;

	if (len < sizeof(*h) || nr_fds > VHU_FDS_MAX)
		return false;
	h->request = (uint32_t)get(&in, 4);
	h->flags = (uint32_t)get(&in, 4);
	h->size = (uint32_t)get(&in, 4);
	len -= sizeof(*h);
	if (h->size > len || h->size > VHU_PAYLOAD_MAX ||
	    (len - h->size) / TAP_FD_NAME < nr_fds)
		return false;
	memset(&e->msg.p, 0, sizeof(e->msg.p));
	memcpy(&e->msg.p, in, h->size);
	in += h->size;
	e->msg.nr_fds = nr_fds;
	for (unsigned i = 0; i < nr_fds; i++, in += TAP_FD_NAME) {
		memcpy(e->fd_name[i], in, TAP_FD_NAME);
		e->fd_name[i][TAP_FD_NAME - 1] = 0;
		e->msg.fd[i] = -1;
	}
	return true;
}

static bool get_body(struct tap_event *e, const unsigned char *in, size_t len,
		     unsigned nr_fds)
{
	switch (e->kind) {
	case TAP_MESSAGE:
		return get_message(e, in, len, nr_fds);
	case TAP_AVAIL:
		if (len < AVAIL_LEN)
			return false;
		e->head = (uint32_t)get(&in, 4);
		e->position = (uint32_t)get(&in, 4);
		e->descriptors = (uint32_t)get(&in, 4);
		e->read_len = (uint32_t)get(&in, 4);
		e->write_len = (uint32_t)get(&in, 4);
		return true;
	case TAP_USED:
		if (len < USED_LEN)
			return false;
		e->head = (uint32_t)get(&in, 4);
		e->position = (uint32_t)get(&in, 4);
		e->used_len = (uint32_t)get(&in, 4);
		e->age_ns = get(&in, 8);
		return true;
	case TAP_STATE:
		if (len < STATE_LEN)
			return false;
		memset(&e->state, 0, sizeof(e->state));
		get_state(in, &e->state);
		return true;
	case TAP_END:
	case TAP_NOTE:
		len = len < TAP_TEXT_MAX ? len : TAP_TEXT_MAX;
		memcpy(e->text, in, len);
		e->text[len] = 0;
		return true;
	default:
		return e->kind && e->kind < TAP_KINDS;
	}
}

bool tap_decode(struct tap_event *e, const unsigned char *in, size_t len)
{
	unsigned version, flags, nr_fds;
	size_t body;

	if (len < HEAD)
		return false;
	version = (unsigned)get(&in, 1);
	e->kind = (uint8_t)get(&in, 1);
	flags = (unsigned)get(&in, 1);
	nr_fds = (unsigned)get(&in, 1);
	e->queue = (uint16_t)get(&in, 2);
	get(&in, 2);
	e->session = (uint32_t)get(&in, 4);
	body = (size_t)get(&in, 4);
	e->from_back = flags & FROM_BACK;
	e->back_channel = flags & BACK_CHANNEL;
	return version == 1 && body <= len - HEAD &&
		get_body(e, in, body, nr_fds);
}

/* -- lines ---------------------------------------------------------------- */

static void print_message(FILE *to, const struct tap_event *e)
{
	const struct vhu_hdr *h = &e->msg.hdr;
	/* Own requests of the back end have numbers of their own. */
	const struct vhu_rule *rule = e->back_channel ?
		vhu_backend_rule(h->request) : vhu_rule(h->request);
	char text[1024];

	fprintf(to, "%s ", e->from_back ? "<-" : "->");
	if (rule)
		fprintf(to, "%s%s", e->back_channel ? "BACKEND_" : "",
			rule->name);
	else
		fprintf(to, "request %" PRIu32, h->request);
	if (h->flags & VHU_REPLY)
		fputs(" reply", to);
	if (h->flags & VHU_NEED_REPLY)
		fputs(" need-reply", to);
	vhu_msg_text(text, sizeof(text), rule, &e->msg);
	if (*text)
		fprintf(to, ": %s", text);
	for (unsigned i = 0; i < e->msg.nr_fds; i++)
		fprintf(to, "%s%s", i ? ", " : " fds: ", e->fd_name[i]);
	fputc('\n', to);
}

static void print_state(FILE *to, const struct ring_state *s)
{
	char why[256];

	ring_diagnose(s, 1000, why, sizeof(why));
	fprintf(to, "state: size %u avail %u used %u pending %" PRIu32
		": %s\n", s->size, s->avail_now, s->used_now, s->pending, why);
}

static void print_text(FILE *to, const char *text)
{
	for (; *text; text++)
		fputc(*text < 0x20 || *text > 0x7e ? '?' : *text, to);
	fputc('\n', to);
}

void tap_print(FILE *to, const struct tap_event *e, uint64_t start_ns)
{
	uint64_t us = (e->ns > start_ns ? e->ns - start_ns : 0) / 1000;

	fprintf(to, "%5" PRIu64 ".%06" PRIu64 " ", us / 1000000,
		us % 1000000);
	if (e->queue != TAP_NO_QUEUE)
		fprintf(to, "queue %u ", e->queue);
	switch (e->kind) {
	case TAP_MESSAGE:
		print_message(to, e);
		break;
	case TAP_AVAIL:
		fprintf(to, "avail head %" PRIu32 " at %" PRIu32 ": %" PRIu32
			" descriptors, %" PRIu32 " bytes to read, %" PRIu32
			" to write\n", e->head, e->position, e->descriptors,
			e->read_len, e->write_len);
		break;
	case TAP_USED:
		fprintf(to, "used head %" PRIu32 " at %" PRIu32 ": %" PRIu32
			" bytes", e->head, e->position, e->used_len);
		if (e->age_ns)
			fprintf(to, ", after %" PRIu64 " us",
				e->age_ns / 1000);
		fputc('\n', to);
		break;
	case TAP_STATE:
		print_state(to, &e->state);
		break;
	case TAP_END:
	case TAP_NOTE:
		print_text(to, e->text);
		break;
	default:
		fputs(e->kind == TAP_KICK ? "kick\n" : e->kind == TAP_CALL ?
		      "call\n" : "a front end came\n", to);
		break;
	}
}
