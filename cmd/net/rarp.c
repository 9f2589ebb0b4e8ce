/* SPDX-License-Identifier: MIT */
/* A RARP packet: see rarp.h. Switches learn from its source address. */
#include "rarp.h"

#include <string.h>

#define MAC	6

void rarp_make(uint8_t packet[RARP_LEN], const uint8_t mac[6])
{
	/* Ethernet and IPv4 addresses, of 6 and 4 bytes; reverse request. */
	static const uint8_t arp[] = { 0, 1, 8, 0, MAC, 4, 0, 3 };
	uint8_t *p = packet;

	memset(packet, 0, RARP_LEN);
	memset(p, 0xff, MAC);
	memcpy(p + MAC, mac, MAC);
	p += 2 * MAC;
	*p++ = 0x80;		/* RARP */
	*p++ = 0x35;
	memcpy(p, arp, sizeof(arp));
	p += sizeof(arp);
	memcpy(p, mac, MAC);	/* who asks, by an IP address not known yet */
	memcpy(p + MAC + 4, mac, MAC);	/* and whom about */
}
