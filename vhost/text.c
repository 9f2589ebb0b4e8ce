/* SPDX-License-Identifier: MIT */
/*
 * vhost/text.c - messages in words, for logs and tools. It knows how each
 * kind of payload reads, not what a message does.
 *
 * A message from a peer may be shorter than what it announces: each field is
 * looked at only where the payload has it.
 */
#include <vireo/vhu_msg.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Regions and bytes that are shown; the rest is counted. */
#define SHOWN_REGIONS	8
#define SHOWN_BYTES	16

struct text {
	char *at;
	size_t left;		/* room, the ending zero included */
};

__attribute__((format(printf, 2, 3)))
static void put(struct text *t, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(t->at, t->left, format, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= t->left)
		n = t->left ? (int)t->left - 1 : 0;
	t->at += n;
	t->left -= (size_t)n;
}

static void put_protocol(struct text *t, uint64_t bits)
{
	put(t, "0x%" PRIx64, bits);
	for (unsigned i = 0; i < VHU_PROTOCOL_BITS; i++) {
		if (bits >> i & 1)
			put(t, " %s", vhu_protocol_name(i));
	}
}

static void put_fd_index(struct text *t, uint64_t v)
{
	put(t, "queue %u%s", (unsigned)(v & VHU_VRING_IDX_MASK),
	    v & VHU_VRING_NOFD ? ", no descriptor" : "");
}

static void put_region(struct text *t, const struct vhu_region *r)
{
	put(t, "guest 0x%" PRIx64 " size 0x%" PRIx64 " user 0x%" PRIx64
	    " offset 0x%" PRIx64, r->guest_addr, r->size, r->user_addr,
	    r->mmap_offset);
}

static void put_table(struct text *t, const struct vhu_msg *msg)
{
	const struct vhu_mem_table *table = &msg->p.table;
	uint32_t has = (msg->hdr.size - 8) / sizeof(table->region[0]);
	uint32_t nr = table->nr < has ? table->nr : has;

	put(t, "%" PRIu32 " regions", table->nr);
	for (uint32_t i = 0; i < nr && i < SHOWN_REGIONS; i++) {
		put(t, i ? "; " : ": ");
		put_region(t, &table->region[i]);
	}
	if (nr > SHOWN_REGIONS)
		put(t, "; and %" PRIu32 " more", nr - SHOWN_REGIONS);
}

static void put_bytes(struct text *t, const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len && i < SHOWN_BYTES; i++)
		put(t, "%s%02x", i ? " " : "", p[i]);
	if (len > SHOWN_BYTES)
		put(t, " and %zu bytes more", len - SHOWN_BYTES);
}

static void put_config(struct text *t, const struct vhu_msg *msg)
{
	const struct vhu_config *c = &msg->p.config;
	uint32_t has = msg->hdr.size - (uint32_t)VHU_CONFIG_HDR;

	put(t, "offset %" PRIu32 " size %" PRIu32 "%s", c->offset, c->size,
	    c->flags & VHU_CONFIG_MIGRATION ? " for migration" : "");
	if (has && c->size) {
		put(t, ": ");
		put_bytes(t, c->data, c->size < has ? c->size : has);
	}
}

static void put_iotlb(struct text *t, const struct vhu_iotlb *m)
{
	static const char *const type[] = {
		"?", "miss", "update", "invalidate", "access fail",
	};

	put(t, "%s 0x%" PRIx64 " size 0x%" PRIx64 " user 0x%" PRIx64
	    " %s%s", type[m->type < VIO_ARRAY_LEN(type) ? m->type : 0],
	    m->iova, m->size, m->user_addr, m->perm & 1 ? "r" : "-",
	    m->perm & 2 ? "w" : "-");
}

static void put_shmem(struct text *t, const struct vhu_msg *msg)
{
	const struct vhu_shmem *m = &msg->p.shmem;
	uint32_t has = (msg->hdr.size - 8) / sizeof(m->size[0]);

	put(t, "%" PRIu32 " regions", m->nr);
	for (uint32_t i = 0; i < has && i < VHU_SHMEM_REGIONS; i++) {
		if (m->size[i])
			put(t, ", %" PRIu32 ": 0x%" PRIx64, i, m->size[i]);
	}
}

static void put_addr(struct text *t, const struct vhu_vring_addr *a)
{
	put(t, "queue %" PRIu32 " desc 0x%" PRIx64 " avail 0x%" PRIx64
	    " used 0x%" PRIx64, a->index, a->desc, a->avail, a->used);
	if (a->flags & VHU_VRING_F_LOG)
		put(t, " log 0x%" PRIx64, a->log);
}

static void put_mmap(struct text *t, const struct vhu_mmap *m)
{
	put(t, "region %u offset 0x%" PRIx64 " length 0x%" PRIx64
	    " from 0x%" PRIx64 "%s", m->shmid, m->shm_offset, m->len,
	    m->fd_offset, m->flags & VHU_MMAP_WRITABLE ? " writable" : "");
}

static void put_transfer(struct text *t, const struct vhu_transfer *x)
{
	put(t, x->direction == VHU_TRANSFER_SAVE ? "save" :
	    x->direction == VHU_TRANSFER_LOAD ? "load" : "direction %" PRIu32,
	    x->direction);
	put(t, ", phase %" PRIu32, x->phase);
}

static void put_other(struct text *t, enum vhu_kind kind,
		      const struct vhu_msg *msg)
{
	const union vhu_payload *p = &msg->p;

	switch (kind) {
	case VHU_KIND_AREA:
		put_fd_index(t, p->area.index);
		put(t, " size 0x%" PRIx64 " offset 0x%" PRIx64, p->area.size,
		    p->area.offset);
		break;
	case VHU_KIND_INFLIGHT:
		put(t, "%u queues of %u, size 0x%" PRIx64 " offset 0x%" PRIx64,
		    p->inflight.nr_queues, p->inflight.queue_size,
		    p->inflight.mmap_size, p->inflight.mmap_offset);
		break;
	case VHU_KIND_UUID:
		put_bytes(t, p->uuid, sizeof(p->uuid));
		break;
	case VHU_KIND_TRANSFER:
		put_transfer(t, &p->transfer);
		break;
	case VHU_KIND_MMAP:
		put_mmap(t, &p->mmap);
		break;
	case VHU_KIND_SHMEM:
		put_shmem(t, msg);
		break;
	default:
		put_bytes(t, p->bytes, msg->hdr.size);
		break;
	}
}

static void put_payload(struct text *t, enum vhu_kind kind,
			const struct vhu_msg *msg)
{
	const union vhu_payload *p = &msg->p;

	switch (kind) {
	case VHU_KIND_U64:
	case VHU_KIND_FEATURES:
		put(t, "0x%" PRIx64, p->u64);
		break;
	case VHU_KIND_PROTOCOL:
		put_protocol(t, p->u64);
		break;
	case VHU_KIND_FDINDEX:
		put_fd_index(t, p->u64);
		break;
	case VHU_KIND_STATE:
		put(t, "queue %" PRIu32 ": %" PRIu32, p->state.index,
		    p->state.num);
		break;
	case VHU_KIND_ADDR:
		put_addr(t, &p->addr);
		break;
	case VHU_KIND_TABLE:
		put_table(t, msg);
		break;
	case VHU_KIND_REGION:
		/* Else an acknowledgement, in postcopy. */
		if (msg->hdr.size >= sizeof(p->reg))
			put_region(t, &p->reg.region);
		break;
	case VHU_KIND_LOG:
		put(t, "size 0x%" PRIx64, p->log.size);
		if (msg->hdr.size >= sizeof(p->log))
			put(t, " offset 0x%" PRIx64, p->log.offset);
		break;
	case VHU_KIND_IOTLB:
		put_iotlb(t, &p->iotlb);
		break;
	case VHU_KIND_CONFIG:
		put_config(t, msg);
		break;
	default:
		put_other(t, kind, msg);
		break;
	}
}

/* The least that a kind needs before its fields are looked at. */
static uint32_t least_of(enum vhu_kind kind)
{
	static const uint16_t least[VHU_KINDS_NR] = {
#define VHU_ROW(name, min, max, about) [VHU_KIND_##name] = (min),
		VHU_KINDS(VHU_ROW)
#undef VHU_ROW
	};

	return least[kind];
}

char *vhu_msg_text(char *out, size_t len, const struct vhu_rule *rule,
		   const struct vhu_msg *msg)
{
	struct text t = { out, len };
	enum vhu_kind kind = VHU_KIND_NONE;

	if (!len)
		return out;
	*out = '\0';
	if (msg->hdr.size > VHU_PAYLOAD_MAX)
		return out;
	/* A reply without an answer of its own is an acknowledgement. */
	if (rule && msg->hdr.flags & VHU_REPLY)
		kind = rule->reply ? (enum vhu_kind)rule->reply_payload :
				     VHU_KIND_U64;
	else if (rule)
		kind = (enum vhu_kind)rule->payload;
	if (msg->hdr.size < least_of(kind))
		kind = VHU_KIND_NONE;
	put_payload(&t, kind, msg);
	return out;
}
