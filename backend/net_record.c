/* SPDX-License-Identifier: MIT */
/* See net_record.h. */
#include <errno.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "backend/net_pcap.h"
#include "backend/net_record.h"
#include "host/log.h"

struct net_record {
	pthread_mutex_t lock;	/* of all that follows */
	pcap_t *pcap;
	pcap_dumper_t *file;
	struct bpf_program filter;
	bool filtered, failed;
	unsigned char bytes[VIO_NET_PACKET_MAX];
};

int net_pcap_filter(pcap_t *pcap, const char *text, struct bpf_program *f)
{
	if (!pcap_compile(pcap, f, text, 1, PCAP_NETMASK_UNKNOWN))
		return 0;
	log_err("--filter='%s': %s; see pcap-filter(7)", text,
		pcap_geterr(pcap));
	return -EINVAL;
}

int net_record_open(struct net_record **to, const char *path,
		    const char *filter)
{
	struct net_record *r = calloc(1, sizeof(*r));
	int rc = 0;

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->pcap = pcap_open_dead_with_tstamp_precision(DLT_EN10MB,
			VIO_NET_PACKET_MAX, PCAP_TSTAMP_PRECISION_NANO);
	if (!r->pcap)
		rc = -ENOMEM;
	if (!rc && filter) {
		rc = net_pcap_filter(r->pcap, filter, &r->filter);
		r->filtered = !rc;
	}
	if (!rc) {
		r->file = pcap_dump_open(r->pcap, path);
		if (!r->file) {
			log_err("--record: %s", pcap_geterr(r->pcap));
			rc = -EIO;
		}
	}
	if (!rc && pcap_dump_flush(r->file)) {
		log_err("--record=%s: %s", path, strerror(errno));
		rc = -EIO;
	}
	if (rc) {
		net_record_close(r);
		return rc;
	}
	*to = r;
	return 0;
}

void net_record_close(struct net_record *r)
{
	if (!r)
		return;
	if (r->file)
		pcap_dump_close(r->file);
	if (r->filtered)
		pcap_freecode(&r->filter);
	if (r->pcap)
		pcap_close(r->pcap);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void add_one(struct net_record *r, const struct vio_net_packet *pkt,
		    const struct timeval *now)
{
	struct pcap_pkthdr h = { .ts = *now };
	size_t len = 0;

	for (unsigned i = 0; i < pkt->nr_seg; i++) {
		size_t n = pkt->seg[i].len;

		if (n > sizeof(r->bytes) - len)
			n = sizeof(r->bytes) - len;
		memcpy(r->bytes + len, pkt->seg[i].base, n);
		len += n;
	}
	h.caplen = (bpf_u_int32)len;
	h.len = pkt->len;
	if (!r->filtered || pcap_offline_filter(&r->filter, &h, r->bytes))
		pcap_dump((u_char *)r->file, &h, r->bytes);
}

void net_record_add(struct net_record *r, const struct vio_net_packet *pkt,
		    unsigned nr)
{
	struct timespec t;
	struct timeval now;

	clock_gettime(CLOCK_REALTIME, &t);
	/* A file of this precision has nanoseconds in this field. */
	now = (struct timeval){ .tv_sec = t.tv_sec, .tv_usec = t.tv_nsec };
	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < nr && !r->failed; i++)
		add_one(r, &pkt[i], &now);
	if (!r->failed && pcap_dump_flush(r->file)) {
		r->failed = true;
		log_err("--record: the file cannot be written (%s); no more is recorded, packets pass on",
			strerror(errno));
	}
	pthread_mutex_unlock(&r->lock);
}
