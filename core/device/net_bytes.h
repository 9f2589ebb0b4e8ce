/* SPDX-License-Identifier: MIT */
/*
 * Numbers as packets have them: most significant byte first, at any address.
 * The bytes are private copies; whoever calls has checked that they are there.
 */
#ifndef CORE_DEVICE_NET_BYTES_H
#define CORE_DEVICE_NET_BYTES_H

#include <vireo/base.h>

VIO_INLINE unsigned vio_net_get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

VIO_INLINE uint32_t vio_net_get32(const unsigned char *p)
{
	return (uint32_t)vio_net_get16(p) << 16 | vio_net_get16(p + 2);
}

VIO_INLINE void vio_net_put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

VIO_INLINE void vio_net_put32(unsigned char *p, uint32_t v)
{
	vio_net_put16(p, v >> 16);
	vio_net_put16(p + 2, v & 0xffff);
}

#endif
