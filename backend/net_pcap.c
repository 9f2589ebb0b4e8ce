/* SPDX-License-Identifier: MIT */
/*
 * A wire that a file remembers: its packets reach the guest as far apart as
 * they once were, from the moment that the guest can receive. What the guest
 * sends goes nowhere. Knows no protocol; libpcap knows the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/net_pcap.h"
#include "backend/netdev_kinds.h"
#include "host/clock.h"
#include "host/log.h"

#define BURST 64u
#define READY_NS (20 * NS_PER_MS)	/* to look for a guest again */

struct replay {
	struct netdev dev;
	pcap_t *pcap;
	struct bpf_program filter;
	bool filtered, fast, started, ended;
	struct loop *loop;
	struct loop_timer timer;
	uint64_t base_ns, first_ns;	/* the same moment, here and there */
	/* The packet that is next; NULL: read one. libpcap's, until then. */
	const unsigned char *bytes;
	uint64_t at_ns;
	uint32_t len;
	uint64_t skipped;
};

static unsigned replay_send(void *backend, unsigned pair,
			    const struct vio_net_packet *pkt, unsigned nr)
{
	(void)backend;
	(void)pair;
	(void)pkt;
	return nr;
}

/* The next packet that can be one. False: there is none. */
static bool fetch(struct replay *r)
{
	struct pcap_pkthdr *h;
	int rc;

	while (!r->bytes) {
		rc = pcap_next_ex(r->pcap, &h, &r->bytes);
		if (rc != 1) {
			if (rc != PCAP_ERROR_BREAK)
				log_err("--backend=pcap: %s; the replay ends here",
					pcap_geterr(r->pcap));
			r->bytes = NULL;
			return false;
		}
		if (r->filtered &&
		    !pcap_offline_filter(&r->filter, h, r->bytes)) {
			r->bytes = NULL;
		} else if (h->caplen != h->len ||
			   h->len < VIO_NET_PACKET_MIN ||
			   h->len > VIO_NET_PACKET_MAX) {
			r->skipped++;
			r->bytes = NULL;
		} else {
			r->len = h->len;
			r->at_ns = (uint64_t)h->ts.tv_sec * NS_PER_S +
				   (uint64_t)h->ts.tv_usec;
		}
	}
	return true;
}

static void finish(struct replay *r)
{
	r->ended = true;
	if (r->skipped)
		log_warn("--backend=pcap: %llu packets of the file were cut short or too long, and left out",
			 (unsigned long long)r->skipped);
	log_debug("the file has been replayed");
}

/* How long until the next packet's time. */
static uint64_t wait_ns(struct replay *r)
{
	uint64_t passed = clock_ns() - r->base_ns, due;

	if (r->fast || r->at_ns <= r->first_ns)
		return 0;
	due = r->at_ns - r->first_ns;
	return due > passed ? due - passed : 0;
}

/* Send what is due. */
static void replay_go(void *ctx)
{
	struct replay *r = ctx;

	if (!r->started && !vio_net_can_receive(r->dev.net, 0)) {
		loop_timer_set(r->loop, &r->timer, READY_NS);
		return;
	}
	for (unsigned i = 0; i < BURST; i++) {
		struct vio_net_packet p = { .nr_seg = 1 };
		struct vio_seg seg;
		uint64_t wait;

		if (!fetch(r)) {
			finish(r);
			return;
		}
		if (!r->started) {
			r->started = true;
			r->base_ns = clock_ns();
			r->first_ns = r->at_ns;
		}
		wait = wait_ns(r);
		if (wait) {
			loop_timer_set(r->loop, &r->timer, wait);
			return;
		}
		seg = (struct vio_seg){ (void *)(uintptr_t)r->bytes, r->len };
		p.seg = &seg;
		p.len = r->len;
		if (!netdev_receive(&r->dev, 0, &p, 1)) {
			netdev_want_room(&r->dev, 0);
			return;
		}
		r->bytes = NULL;
	}
	loop_timer_set(r->loop, &r->timer, 0);
}

static void replay_room(void *backend, unsigned pair)
{
	struct replay *r = backend;

	(void)pair;
	if (!r->ended)
		replay_go(r);
}

static int replay_attach(struct netdev *d, unsigned pair, struct loop *loop)
{
	struct replay *r = (struct replay *)d;

	if (pair)
		return 0;
	r->loop = loop;
	r->timer = (struct loop_timer){ .fn = replay_go, .ctx = r };
	loop_timer_set(loop, &r->timer, READY_NS);
	return 0;
}

static void replay_detach(struct netdev *d, unsigned pair)
{
	struct replay *r = (struct replay *)d;

	if (!pair)
		loop_timer_cancel(r->loop, &r->timer);
}

static void replay_close(struct netdev *d)
{
	struct replay *r = (struct replay *)d;

	if (r->filtered)
		pcap_freecode(&r->filter);
	if (r->pcap)
		pcap_close(r->pcap);
	free(r);
}

static const struct netdev_ops replay_ops = {
	.io = { .send = replay_send, .room = replay_room },
	.attach = replay_attach,
	.detach = replay_detach,
	.close = replay_close,
};

static int set_up(struct replay *r, const struct netdev_conf *conf)
{
	char why[PCAP_ERRBUF_SIZE];
	const char *kind;
	int rc;

	r->pcap = pcap_open_offline_with_tstamp_precision(conf->argument,
			PCAP_TSTAMP_PRECISION_NANO, why);
	if (!r->pcap) {
		log_err("--backend=pcap: %s", why);
		return -EINVAL;
	}
	if (pcap_datalink(r->pcap) != DLT_EN10MB) {
		kind = pcap_datalink_val_to_name(pcap_datalink(r->pcap));
		log_err("--backend=pcap=%s: holds packets of kind %s; only Ethernet can be replayed",
			conf->argument, kind ? kind : "unknown");
		return -EINVAL;
	}
	if (!conf->filter)
		return 0;
	rc = net_pcap_filter(r->pcap, conf->filter, &r->filter);
	r->filtered = !rc;
	return rc;
}

int netdev_pcap_open(struct netdev **d, const struct netdev_conf *conf)
{
	struct replay *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->dev.ops = &replay_ops;
	r->dev.engine = "libpcap";
	r->dev.offloads = NETDEV_OFFLOADS;
	r->fast = conf->fast;
	rc = set_up(r, conf);
	if (rc) {
		replay_close(&r->dev);
		return rc;
	}
	*d = &r->dev;
	return 0;
}
