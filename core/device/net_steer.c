/* SPDX-License-Identifier: MIT */
/* Receive steering (standard: 5.1.6.5.5 to 5.1.6.5.7); see net_steer.h. */
#include "core/device/net_hash.h"
#include "core/device/net_int.h"
#include "core/device/net_steer.h"
#include "core/base/shared64.h"
#include "core/base/string.h"

#define BATCH	32u	/* packets that are looked at in advance */
#define NOWHERE	UINT16_MAX

/* -- what all threads read ----------------------------------------------- */

static void lock(uint32_t *l)
{
	/* pairs with [NL]: unlock() of this file */
	while (__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE))
		while (__atomic_load_n(l, __ATOMIC_RELAXED))
			;
}

static void unlock(uint32_t *l)
{
	/* [NL] pairs with [NL]: lock() of this file */
	__atomic_store_n(l, 0, __ATOMIC_RELEASE);
}

void vio_net_enter(struct vio_net *net, unsigned pair)
{
	if (vio_unlikely(net->conf.threads) && !net->pair[pair].depth++)
		lock(&net->pair[pair].lock);
}

void vio_net_leave(struct vio_net *net, unsigned pair)
{
	if (vio_unlikely(net->conf.threads) && !--net->pair[pair].depth)
		unlock(&net->pair[pair].lock);
}

void vio_net_lock(struct vio_net *net)
{
	for (unsigned i = 0; net->conf.threads && i < net->conf.pairs; i++)
		lock(&net->pair[i].lock);
}

void vio_net_unlock(struct vio_net *net)
{
	for (unsigned i = 0; net->conf.threads && i < net->conf.pairs; i++)
		unlock(&net->pair[i].lock);
}

/* -- from one thread to another ------------------------------------------ */

/* In memory: this, then the bytes, then up to a multiple of 8. */
struct letter {
	struct vio_net_meta meta;
	uint32_t len;		/* of the bytes; WRAP: go on at the start */
};

#define WRAP	UINT32_MAX
#define STEP	8u

static uint32_t room_for(uint32_t len)
{
	return ((uint32_t)sizeof(struct letter) + len + STEP - 1) &
	       ~(STEP - 1);
}

/* Bytes that are free in one piece at the tail, after a wrap if need be. */
static bool make_room(struct vio_net_mail *m, uint32_t size, uint32_t need)
{
	struct letter *end;

	if (m->full)
		return false;
	if (m->head > m->tail)
		return m->head - m->tail >= need;
	if (size - m->tail >= need)
		return true;
	if (m->head < need)
		return false;
	if (size - m->tail >= sizeof(*end)) {
		end = (struct letter *)(void *)(m->at + m->tail);
		end->len = WRAP;
	}
	m->tail = 0;
	return true;
}

/* True if it was empty: whoever takes it is to be told. */
static bool post(struct vio_net *net, unsigned pair,
		 const struct vio_net_packet *pkt, bool *lost)
{
	struct vio_net_mail *m = &net->pair[pair].mail;
	uint32_t size = net->conf.mail_len & ~(STEP - 1);
	uint32_t need = room_for(pkt->len);
	struct letter *l;
	bool empty;

	lock(&m->lock);
	empty = m->head == m->tail && !m->full;
	*lost = pkt->len > VIO_NET_PACKET_MAX || !make_room(m, size, need);
	if (!*lost) {
		l = (struct letter *)(void *)(m->at + m->tail);
		l->meta = pkt->meta;
		l->len = pkt->len;
		vio_net_peek(pkt, l + 1, pkt->len);
		m->tail += need;
		if (m->tail == size)
			m->tail = 0;
		m->full = m->tail == m->head;
	}
	unlock(&m->lock);
	return empty && !*lost;
}

/* The oldest letter; it stays where it is until vio_net_mail_next(). */
static struct letter *oldest(struct vio_net *net, struct vio_net_mail *m)
{
	uint32_t size = net->conf.mail_len & ~(STEP - 1);
	struct letter *l = NULL;

	lock(&m->lock);
	if (m->head != m->tail || m->full) {
		l = (struct letter *)(void *)(m->at + m->head);
		if (size - m->head < sizeof(*l) || l->len == WRAP) {
			m->head = 0;
			l = (struct letter *)(void *)m->at;
		}
	}
	unlock(&m->lock);
	return l;
}

static void next(struct vio_net *net, struct vio_net_mail *m, uint32_t len)
{
	uint32_t size = net->conf.mail_len & ~(STEP - 1);

	lock(&m->lock);
	m->head += room_for(len);
	if (m->head == size)
		m->head = 0;
	m->full = false;
	unlock(&m->lock);
}

void vio_net_mail_take(struct vio_net *net, unsigned pair)
{
	struct vio_net_mail *m = &net->pair[pair].mail;
	struct letter *l;
	unsigned i;

	if (!m->at)
		return;
	vio_net_enter(net, pair);
	/* Bounded: others may go on posting. */
	for (i = 0; i < 4 * BATCH && (l = oldest(net, m)); i++) {
		struct vio_seg seg = { l + 1, l->len };
		const struct vio_net_packet p = {
			.meta = l->meta, .seg = &seg, .nr_seg = 1,
			.len = l->len,
		};

		if (!vio_net_receive_here(net, pair, &p, 1))
			vio_net_gave_up(net, pair, 1);
		next(net, m, p.len);
	}
	vio_net_leave(net, pair);
	if (i == 4 * BATCH)
		vio_dev_queue_ready(&net->dev, vio_net_rxq(net, pair));
}

void vio_net_mail_drop(struct vio_net *net, unsigned pair)
{
	struct vio_net_mail *m = &net->pair[pair].mail;

	lock(&m->lock);
	m->head = m->tail = 0;
	m->full = false;
	unlock(&m->lock);
}

/* -- which queue --------------------------------------------------------- */

static bool is_open(const struct vio_net *net, unsigned pair)
{
	return __atomic_load_n(&net->pair[pair].open, __ATOMIC_RELAXED);
}

void vio_net_hash(const struct vio_net *net, const struct vio_net_packet *pkt,
		  struct vio_net_meta *meta)
{
	const struct vio_net_steering *s = &net->steering;
	struct vio_net_flow flow;

	if (!meta->hashed && s->hash_types) {
		vio_net_flow_read(pkt, &flow);
		meta->hash_report = vio_net_flow_hash(&flow, s->hash_types,
						      &s->key, &meta->hash);
	}
	meta->hashed = true;
}

/* net.device.rss-processing.1 and .2 */
static uint16_t by_table(const struct vio_net *net,
			 struct vio_net_packet *pkt)
{
	const struct vio_net_steering *s = &net->steering;
	uint16_t to = s->table.unclassified;

	vio_net_hash(net, pkt, &pkt->meta);
	if (pkt->meta.hash_report != VIRTIO_NET_HASH_REPORT_NONE)
		to = s->table.pair[pkt->meta.hash & s->table.mask];
	return is_open(net, to) ? to : NOWHERE;
}

/* The driver's word, or the pairs that are there. */
static unsigned used_pairs(const struct vio_net *net)
{
	unsigned n;

	if (vio_likely(!net->steering.untold))
		return net->steering.pairs;
	for (n = 1; n < net->conf.pairs && is_open(net, n); n++)
		;
	return n;
}

/*
 * Where the driver last sent from; else by the flow, so that a flow stays in
 * order. A queue that is stopped is passed over.
 */
static uint16_t by_flow(const struct vio_net *net,
			const struct vio_net_packet *pkt)
{
	unsigned n = used_pairs(net), i, to;
	struct vio_net_flow flow;
	uint32_t mix;

	if (n == 1)
		return is_open(net, 0) ? 0 : NOWHERE;
	vio_net_flow_read(pkt, &flow);
	mix = vio_net_flow_mix(&flow);
	to = __atomic_load_n(&net->flow[mix % VIO_NET_FLOWS],
			     __ATOMIC_RELAXED);
	to = to && to <= n && flow.version ? to - 1 :
	     (unsigned)((uint64_t)mix * n >> 32);
	for (i = 0; i < n; i++, to = to + 1 < n ? to + 1 : 0)
		if (is_open(net, to))
			return (uint16_t)to;
	return NOWHERE;
}

void vio_net_learn(struct vio_net *net, unsigned pair,
		   const struct vio_net_packet *pkt, unsigned nr)
{
	struct vio_net_flow flow;
	uint8_t *at;

	for (unsigned i = 0; i < nr; i++) {
		vio_net_flow_read(&pkt[i], &flow);
		if (!flow.version)
			continue;
		at = &net->flow[vio_net_flow_mix(&flow) % VIO_NET_FLOWS];
		/* Others read the line: not written without need. */
		if (__atomic_load_n(at, __ATOMIC_RELAXED) != pair + 1)
			__atomic_store_n(at, (uint8_t)(pair + 1),
					 __ATOMIC_RELAXED);
	}
}

/* -- delivery ------------------------------------------------------------ */

/* For another pair: what it cannot take is lost, and holds up nobody. */
static void elsewhere(struct vio_net *net, unsigned pair, unsigned to,
		      const struct vio_net_packet *pkt, unsigned nr)
{
	struct vio_net_stats *st = &net->pair[pair].stats;
	bool ring = false, lost;
	unsigned n;

	if (to == NOWHERE) {
		vio_shared64_add(&st->rx_astray, nr);
		return;
	}
	if (!net->conf.threads) {
		n = vio_net_receive_here(net, to, pkt, nr);
		vio_net_gave_up(net, to, nr - n);
		return;
	}
	for (unsigned i = 0; i < nr; i++) {
		ring |= post(net, to, &pkt[i], &lost);
		if (lost)
			vio_shared64_add(&st->rx_astray, 1);
	}
	if (ring)
		vio_dev_queue_ready(&net->dev, vio_net_rxq(net, to));
}

/* Packets that go the same way, together. Returns how many went. */
static unsigned deliver(struct vio_net *net, unsigned pair,
			const struct vio_net_packet *pkt, const uint16_t *to,
			unsigned nr)
{
	unsigned done = 0, n, got;

	while (done < nr) {
		for (n = 1; done + n < nr && to[done + n] == to[done]; n++)
			;
		if (to[done] != pair) {
			elsewhere(net, pair, to[done], &pkt[done], n);
			done += n;
			continue;
		}
		got = vio_net_receive_here(net, pair, &pkt[done], n);
		done += got;
		if (got < n)
			break;
	}
	return done;
}

unsigned vio_net_steer(struct vio_net *net, unsigned pair,
		       const struct vio_net_packet *pkt, unsigned nr)
{
	struct vio_net_packet p[BATCH];
	unsigned done = 0, n, i, got;
	uint16_t to[BATCH];

	vio_net_enter(net, pair);
	do {
		n = nr - done < BATCH ? nr - done : BATCH;
		for (i = 0; i < n; i++) {
			p[i] = pkt[done + i];
			p[i].meta.hashed = false;
			to[i] = net->steering.rss ? by_table(net, &p[i]) :
						    by_flow(net, &p[i]);
		}
		got = deliver(net, pair, p, to, n);
		done += got;
	} while (got == n && done < nr);
	vio_net_leave(net, pair);
	return done;
}
