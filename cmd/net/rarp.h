/* SPDX-License-Identifier: MIT */
/* A packet that shows a network where an address is now (RFC 903). */
#ifndef CMD_NET_RARP_H
#define CMD_NET_RARP_H

#include <stdint.h>

#define RARP_LEN	60	/* with what fills it up for Ethernet */

/* A reverse request of @mac for its own address. */
void rarp_make(uint8_t packet[RARP_LEN], const uint8_t mac[6]);

#endif
