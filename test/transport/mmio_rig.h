/* SPDX-License-Identifier: MIT */
/*
 * mmio_rig.h - one device behind the registers of the MMIO transport, and a
 * machine through which our own drivers reach them, watched for what a driver
 * may not do.
 */
#ifndef TEST_TRANSPORT_MMIO_RIG_H
#define TEST_TRANSPORT_MMIO_RIG_H

#include <vireo/bus_mmio.h>
#include <vireo/driver_blk.h>
#include <vireo/driver_rng.h>
#include <vireo/blk.h>
#include <vireo/mmio.h>
#include <vireo/rng.h>
#include <vireo/spec/mmio.h>
#include <vireo/spec/packed.h>
#include <vireo/spec/virtio.h>
#include "vtest.h"

#define MEM		(1u << 20)
#define GUEST		0x80000000ull
#define SIZE		16u
#define HIGH_V1		(1u << (VIRTIO_F_VERSION_1 - 32))
#define HIGH_RESET	(1u << (VIRTIO_F_RING_RESET - 32))

extern unsigned char ram[MEM], disk[64 * 512];
extern struct vio_mem mem;
extern struct vio_queue queue[1];
extern struct vio_mmio m;
extern struct vio_rng rng;
extern struct vio_blk blk;
extern bool line, asked;	/* interrupt line; service was asked for */
extern bool hold_back;		/* the back end keeps requests */
extern struct vio_blk_io *held;

/* A fresh device of either type behind @m. */
void make_rng(void);
void make_blk(void);
/* The back end finishes a request that it held back. */
void finish(struct vio_blk_io *io);

uint32_t rd(unsigned off);
void wr(unsigned off, uint32_t v);
/* As a driver by hand: features @low (bits 0 to 31), the ring at @at. */
void negotiate(uint32_t low, uint32_t high);
void enable(uint32_t size, uint64_t at);

/* -- the machine of our own drivers --------------------------------------- */

extern const struct vio_mmio_access machine;
extern bool ready;	/* the queue, as the driver knows it */
extern bool aliased;	/* selects above 0 are taken for 1, as QEMU does */
extern unsigned notifies;
extern const struct vio_vq *told;	/* whose notifications are checked */

struct vio_drv_mem drv_mem(void);
/* Ring features: event index, indirect, packed, in order. */
struct vio_features variant(unsigned set);

#endif
