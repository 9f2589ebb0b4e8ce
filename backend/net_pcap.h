/* SPDX-License-Identifier: MIT */
/* Private to the files that use libpcap. */
#ifndef BACKEND_NET_PCAP_H
#define BACKEND_NET_PCAP_H

#include <pcap/pcap.h>

/* Compile a filter. 0, or -EINVAL after an error line. */
int net_pcap_filter(pcap_t *pcap, const char *text, struct bpf_program *f);

#endif
