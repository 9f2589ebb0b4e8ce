/* SPDX-License-Identifier: MIT */
/* A network device of two pairs; see netrig.h. */
#include "test/core/netrig.h"
#include "vtest.h"

#define W	VIRTQ_DESC_F_WRITE
#define N	VIRTQ_DESC_F_NEXT

static unsigned wire_send(void *backend, unsigned pair,
			  const struct vio_net_packet *pkt, unsigned nr)
{
	struct netrig *n = backend;

	for (unsigned i = 0; i < nr; i++) {
		n->sent_len = 0;
		for (unsigned k = 0; k < pkt[i].nr_seg; k++) {
			memcpy(n->sent + n->sent_len, pkt[i].seg[k].base,
			       pkt[i].seg[k].len);
			n->sent_len += (uint32_t)pkt[i].seg[k].len;
		}
		CHECK_EQ(n->sent_len, pkt[i].len);
		n->sent_meta = pkt[i].meta;
		n->sent_pair = pair;
		if (n->nr_sent < VIO_ARRAY_LEN(n->log)) {
			uint32_t keep = n->sent_len;

			if (keep > sizeof(n->log[0].byte))
				keep = sizeof(n->log[0].byte);
			n->log[n->nr_sent].len = n->sent_len;
			memcpy(n->log[n->nr_sent].byte, n->sent, keep);
		}
		n->nr_sent++;
	}
	return nr;
}

static const struct vio_net_backend_ops wire = { .send = wire_send };

void netrig_init(struct netrig *n)
{
	memset(n, 0, sizeof(*n));
	n->conf = (struct vio_net_conf){
		.mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .pairs = 2,
		.scratch = n->scratch, .mail = n->mail[0],
		.mail_len = sizeof(n->mail[0]),
	};
}

void netrig_start(struct netrig *n, const unsigned *off, unsigned nr)
{
	struct vio_features f;

	for (unsigned i = NETRIG_QUEUES; i--;)
		rig_init(&n->ring[i], n->queue, i ? 0 : NETRIG_QUEUES,
			 vio_net_ctx_size);
	CHECK_EQ(vio_net_init(&n->net, &n->conf, n->queue, &wire, n), VIO_OK);
	f = *vio_dev_offered(&n->net.dev);
	vio_feature_clear(&f, VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < nr; i++)
		vio_feature_clear(&f, off[i]);
	rig_start(&n->ring[0], &n->net.dev, &f);
	for (unsigned i = 1; i < NETRIG_QUEUES; i++) {
		struct rig *r = &n->ring[i];

		CHECK_EQ(vio_queue_start(&n->queue[i], &r->mem, &r->layout, 0,
					 0), VIO_OK);
	}
	for (unsigned i = 0; i < NETRIG_QUEUES; i++)
		vio_queue_service(&n->queue[i], 1);
	n->nr_sent = 0;
	memset(n->offered, 0, sizeof(n->offered));
}

unsigned netrig_command(struct netrig *n, uint8_t class_, uint8_t cmd,
			const void *data, uint32_t len, void *reply,
			uint32_t reply_len, uint32_t *used)
{
	struct rig *r = &n->ring[CTRL];
	unsigned char *at = rig_at(r, RIG_DATA);
	unsigned char *back = rig_at(r, RIG_HIGH);
	uint32_t id, got;

	at[0] = class_;
	at[1] = cmd;
	if (len)
		memcpy(at + 2, data, len);
	memset(back, 0xee, 1 + reply_len);
	rig_desc(r, 0, RIG_DATA, 2 + len, N, 1);
	rig_desc(r, 1, RIG_HIGH, 1 + reply_len, W, 0);
	rig_avail(r, 0);
	CHECK_EQ(vio_queue_service(&n->queue[CTRL], 64), VIO_SERVICE_IDLE);
	CHECK(rig_used(r, &id, &got));
	if (used)
		*used = got;
	if (reply_len)
		memcpy(reply, back + 1, reply_len);
	return back[0];
}

void netrig_offer(struct netrig *n, unsigned q, unsigned nr)
{
	struct rig *r = &n->ring[q];

	while (nr--) {
		unsigned i = n->offered[q]++ % RIG_SIZE;

		rig_desc(r, i, RIG_HIGH + i * NETRIG_BUFFER, NETRIG_BUFFER, W,
			 0);
		rig_avail(r, (uint16_t)i);
	}
}

unsigned char *netrig_got(struct netrig *n, unsigned q, uint32_t *len)
{
	uint32_t id;

	if (!rig_used(&n->ring[q], &id, len))
		return NULL;
	return rig_at(&n->ring[q], RIG_HIGH + id * NETRIG_BUFFER);
}

void netrig_send(struct netrig *n, unsigned q, const struct virtio_net_hdr *h,
		 const void *bytes, uint32_t len)
{
	struct rig *r = &n->ring[q];
	uint32_t id, used;

	memcpy(rig_at(r, RIG_DATA), h, n->net.hdr_len);
	memcpy(rig_at(r, RIG_HIGH), bytes, len);
	rig_desc(r, 0, RIG_DATA, n->net.hdr_len, N, 1);
	rig_desc(r, 1, RIG_HIGH, len, 0, 0);
	rig_avail(r, 0);
	vio_queue_service(&n->queue[q], 64);
	CHECK(rig_used(r, &id, &used));
	CHECK_EQ(used, 0);
}
