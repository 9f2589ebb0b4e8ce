/* SPDX-License-Identifier: MIT */
/* From a word to a wire: which kinds there are in this build. */
#include <errno.h>
#include <string.h>

#include "backend/netdev_kinds.h"
#include "host/log.h"

static const struct {
	const char *name;
	bool with_argument;
	int (*open)(struct netdev **d, const struct netdev_conf *conf);
	const char *missing;	/* the library that a build without it lacks */
} kinds[] = {
#ifdef HAVE_SLIRP
	{ "user", false, netdev_user_open, NULL },
#else
	{ "user", false, NULL, "libslirp-dev" },
#endif
	{ "tap", true, netdev_tap_open, NULL },
	{ "switch", true, netdev_switch_open, NULL },
	{ "stream", true, netdev_stream_open, NULL },
#ifdef HAVE_PCAP
	{ "pcap", true, netdev_pcap_open, NULL },
#else
	{ "pcap", true, NULL, "libpcap-dev" },
#endif
	{ "null", false, netdev_null_open, NULL },
	{ "echo", false, netdev_echo_open, NULL },
};

/* What is done on the way to a wire, where anything is. */
static unsigned send(void *backend, unsigned pair,
		     const struct vio_net_packet *pkt, unsigned nr)
{
	struct netdev *d = backend;

	if (d->record)
		net_record_add(d->record, pkt, nr);
	/* Before a mirror's come back. */
	if (d->limit)
		net_limit_take(d->limit, NET_TX, pair, pkt, nr);
	return d->ops->io.send(d, pair, pkt, nr);
}

static unsigned admit(void *backend, unsigned pair, unsigned max)
{
	struct netdev *d = backend;

	return net_limit_ask(d->limit, NET_TX, pair, max);
}

static int open_more(struct netdev *d, const struct netdev_conf *conf)
{
	int rc = 0;

	d->io = d->ops->io;
	if (conf->record)
		rc = net_record_open(&d->record, conf->record, conf->filter);
	if (!rc && conf->limits) {
		rc = net_limit_open(&d->limit, d, conf->pairs, conf->limits);
		d->io.admit = admit;
	}
	if (d->record || d->limit)
		d->io.send = send;
	return rc;
}

void netdev_close(struct netdev *d)
{
	struct net_record *r = d->record;
	struct net_limit *l = d->limit;

	d->ops->close(d);
	net_record_close(r);
	net_limit_close(l);
}

static int open_kind(struct netdev **d, const struct netdev_conf *conf)
{
	size_t len = strcspn(conf->kind, "=");
	struct netdev_conf c = *conf;

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strlen(kinds[i].name) != len ||
		    strncmp(kinds[i].name, conf->kind, len))
			continue;
		c.argument = conf->kind[len] ? conf->kind + len + 1 : NULL;
		if (kinds[i].with_argument != (c.argument && *c.argument)) {
			log_err("--backend=%s %s", kinds[i].name,
				kinds[i].with_argument ?
				"needs a name after an equals sign" :
				"takes nothing after it");
			return -EINVAL;
		}
		if (kinds[i].open)
			return kinds[i].open(d, &c);
		log_err("--backend=%s: this build is without it; install %s, configure and build again",
			kinds[i].name, kinds[i].missing);
		return -EOPNOTSUPP;
	}
	log_err("--backend: there is no '%s'; see --help for those that are",
		conf->kind);
	return -EINVAL;
}

int netdev_open(struct netdev **d, const struct netdev_conf *conf)
{
	int rc = open_kind(d, conf);

	if (rc)
		return rc;
	rc = open_more(*d, conf);
	if (rc) {
		netdev_close(*d);
		*d = NULL;
	}
	return rc;
}

#ifndef HAVE_PCAP
int net_record_open(struct net_record **r, const char *path,
		    const char *filter)
{
	(void)r;
	(void)path;
	(void)filter;
	log_err("--record: this build is without it; install libpcap-dev, configure and build again");
	return -EOPNOTSUPP;
}

void net_record_close(struct net_record *r)
{
	(void)r;
}

void net_record_add(struct net_record *r, const struct vio_net_packet *pkt,
		    unsigned nr)
{
	(void)r;
	(void)pkt;
	(void)nr;
}
#endif
