/* SPDX-License-Identifier: MIT */
/*
 * Writes the packets of a network device to a file as they pass, whatever
 * its wire is. Knows no protocol; libpcap knows the file and the filter.
 */
#ifndef BACKEND_NET_RECORD_H
#define BACKEND_NET_RECORD_H

#include <vireo/net.h>

struct net_record;

/*
 * Begin a file; @filter is an expression as of pcap-filter(7), or NULL for
 * all. 0, or -errno after an error line. A build without libpcap always
 * refuses.
 */
int net_record_open(struct net_record **r, const char *path,
		    const char *filter);
/* NULL is no record. */
void net_record_close(struct net_record *r);

/*
 * Any thread. The bytes may change meanwhile, being a guest's; the lengths
 * do not. When this returns, the file holds them, unless its disk is full:
 * that is said once, and recording ends.
 */
void net_record_add(struct net_record *r, const struct vio_net_packet *pkt,
		    unsigned nr);

#endif
