/* SPDX-License-Identifier: MIT */
/*
 * ccw_rig.h - a block device behind a subchannel, and its commands one by one
 * as a driver issues them. It knows nothing of our driver.
 */
#ifndef TEST_TRANSPORT_CCW_RIG_H
#define TEST_TRANSPORT_CCW_RIG_H

#include <vireo/blk.h>
#include <vireo/ccw.h>
#include <vireo/spec/virtio.h>
#include "vtest.h"

#define MEM		(1u << 18)
#define GUEST		0x10000ull
#define DATA		(GUEST + 0x1000)	/* of commands */
#define PROGRAM		(GUEST + 0x2000)
#define IND		(GUEST + 0x3000)	/* indicators */
#define RING		(GUEST + 0x4000)
#define SIZE		16u
#define REJECTED	(CCW_DSTAT_GOOD | CCW_DSTAT_UNIT_CHECK)

extern unsigned char ram[MEM];
extern struct vio_mem mem;
extern struct vio_queue queue[1];
extern struct vio_blk blk;
extern struct vio_ccw c;
extern struct vio_blk_io *held;		/* by the back end */
extern struct vio_ccw_status st;	/* of the last command */
extern unsigned interrupts, adapter_interrupts, served;

unsigned char *at(uint64_t addr);
void make(bool transitional);
/* One command; returns whether it ended well. */
bool run(uint8_t code, uint8_t flags, uint16_t count);
bool rejected(uint8_t code, uint8_t flags, uint16_t count);
/* @nr numbers of these widths, big-endian, where commands find them. */
void put(unsigned nr, const uint64_t *v, const uint8_t *width);
bool set_rev(uint64_t revision, uint64_t length);
bool write_feat(unsigned index, uint32_t v);
bool status(uint8_t v);
uint8_t get_status(void);
bool set_vq(uint64_t desc, uint64_t index, uint64_t size);
/* A modern device, its features agreed on, its queue set up. */
void bring_up(void);

#endif
