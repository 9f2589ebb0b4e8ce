/* SPDX-License-Identifier: MIT */
/* What a back end says of itself, in one session in which nothing is asked of
 * it that any front end would not ask. */
#include "probe.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <vireo/spec/virtio.h>

static int ask_config(struct peer *s, uint32_t offset, uint32_t size)
{
	vhu_msg_init(&s->out, VHOST_USER_GET_CONFIG, 0,
		     (uint32_t)VHU_CONFIG_HDR + size);
	s->out.p.config.offset = offset;
	s->out.p.config.size = size;
	return peer_ask(s);
}

/* The longest piece that it gives; some give no more than they have. */
static void read_config(struct probe *p, struct peer *s)
{
	static const uint16_t sizes[] = {
		CONFIG_BYTES, 96, 72, 60, 44, 40, 36, 24, 12, 8, 4,
	};

	for (unsigned i = 0; i < VIO_ARRAY_LEN(sizes); i++) {
		int r = ask_config(s, 0, sizes[i]);

		if (r)
			return;
		if (s->sock.in.hdr.size < VHU_CONFIG_HDR + sizes[i])
			continue;
		p->config_len = sizes[i];
		memcpy(p->config, s->sock.in.p.config.data, sizes[i]);
		return;
	}
}

static int agree(struct probe *p, struct peer *s)
{
	uint64_t again = 0;
	int r;

	r = peer_ask_u64(s, VHOST_USER_GET_FEATURES, &p->features);
	if (r)
		return r;
	r = peer_ask_u64(s, VHOST_USER_GET_FEATURES, &again);
	if (r)
		return r;
	found(p, "GET_FEATURES", again == p->features ? V_OK : V_BREACH,
	      again == p->features ? "the same answer twice" :
	      "two answers: 0x%" PRIx64 ", 0x%" PRIx64, p->features, again);
	if (!has_f(p, VHOST_USER_F_PROTOCOL_FEATURES)) {
		found(p, "GET_PROTOCOL_FEATURES", V_NONE,
		      "no protocol features are offered");
		return 0;
	}
	r = peer_ask_u64(s, VHOST_USER_GET_PROTOCOL_FEATURES, &p->protocol);
	if (r)
		return r;
	found(p, "GET_PROTOCOL_FEATURES",
	      p->protocol >> VHU_PROTOCOL_BITS ? V_NOTE : V_OK,
	      p->protocol >> VHU_PROTOCOL_BITS ?
	      "bits that the protocol does not have" : "all bits are known");
	vhu_msg_init(&s->out, VHOST_USER_SET_PROTOCOL_FEATURES, 0, 8);
	s->out.p.u64 = p->protocol & (VHU_PF(REPLY_ACK) | VHU_PF(MQ) |
				      VHU_PF(CONFIG) | VHU_PF(STATUS) |
				      VHU_PF(CONFIGURE_MEM_SLOTS));
	r = peer_send(s);
	s->ack = has_pf(p, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	return r;
}

static void count(struct probe *p, struct peer *s)
{
	uint64_t n = 0;
	int r;

	if (has_pf(p, VHOST_USER_PROTOCOL_F_MQ)) {
		r = peer_ask_u64(s, VHOST_USER_GET_QUEUE_NUM, &n);
		found(p, "GET_QUEUE_NUM", r || !n ? V_BREACH : V_OK,
		      r ? "no answer" : "%" PRIu64 " queues", n);
		p->queues = r || n > 65536 ? 0 : (unsigned)n;
	} else {
		found(p, "GET_QUEUE_NUM", V_NONE, "MQ is not offered");
	}
	if (has_pf(p, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
		r = peer_ask_u64(s, VHOST_USER_GET_MAX_MEM_SLOTS, &n);
		found(p, "GET_MAX_MEM_SLOTS", r || !n ? V_BREACH : V_OK,
		      r ? "no answer" : "%" PRIu64 " regions", n);
		p->mem_slots = r ? 0 : (unsigned)n;
	} else {
		found(p, "GET_MAX_MEM_SLOTS", V_NONE,
		      "CONFIGURE_MEM_SLOTS is not offered");
	}
}

static void ask_owner(struct probe *p, struct peer *s)
{
	enum taken t;

	vhu_msg_init(&s->out, VHOST_USER_SET_OWNER, 0, 0);
	t = peer_tell(s);
	if (!s->ack)
		found(p, "REPLY_ACK", V_NONE, "REPLY_ACK is not offered");
	else
		found(p, "REPLY_ACK", t == TAKEN ? V_OK : V_BREACH,
		      "a request with NEED_REPLY: %s", taken_text(t));
}

int survey(struct probe *p)
{
	struct peer s;
	int r = peer_open(p, &s);

	if (!r)
		r = agree(p, &s);
	if (!r) {
		ask_owner(p, &s);
		count(p, &s);
		if (has_pf(p, VHOST_USER_PROTOCOL_F_CONFIG))
			read_config(p, &s);
	}
	peer_close(&s);
	if (!r && !p->type)
		p->type = type_guess(p->features, p->config, p->config_len,
				     p->queues ? p->queues : 1);
	/* Of a network these are pairs, a control queue behind. */
	if (p->queues && p->type && p->type->id == VIRTIO_ID_NET)
		p->queues = 2 * p->queues + 1;
	return r;
}
