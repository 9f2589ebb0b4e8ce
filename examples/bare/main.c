/* SPDX-License-Identifier: MIT */
/*
 * main.c - what a guest without an operating system does with each device:
 * reads a disk, writes to it and compares; takes random bytes; prints. It
 * knows neither the machine nor the bus.
 */
#include "bare.h"
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>
#include <vireo/driver_rng.h>
#include <vireo/spec/virtio.h>

#define QUEUE	256	/* legacy devices on PCI have as many, no fewer */
#define SECTORS	8u

/* Address and pointer are the same here; the window is this. */
static _Alignas(4096) unsigned char shared[192 * 1024];
static _Alignas(64) unsigned char private[48 * 1024];
static unsigned failures;

void say(const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			machine_put('\r');
		machine_put(*text);
	}
}

void say_number(uint32_t n)
{
	if (n >= 10)
		say_number(n / 10);
	machine_put((char)('0' + n % 10));
}

static void verdict(const char *what, int err)
{
	say(what);
	if (err) {
		say(" failed, error ");
		say_number((uint32_t)-err);
		failures++;
	} else {
		say(" ok");
	}
	say("\n");
}

/* Half of the window for rings, half for data. */
static struct vio_drv_mem memory(void)
{
	return (struct vio_drv_mem){
		.window = { shared, { (uintptr_t)shared }, sizeof(shared) },
		.shared = { shared, sizeof(shared) / 2 },
		.priv = { private, sizeof(private) },
	};
}

static unsigned char *data(void)
{
	return shared + sizeof(shared) / 2;
}

static const struct vio_vq_limits limits = {
	.size = QUEUE, .indirect_max = 4 };

/* Every word is another one, on each sector and in each pass. */
static void pattern(uint32_t *at, uint32_t salt)
{
	for (uint32_t i = 0; i < SECTORS * 128; i++)
		at[i] = (i + salt) * 2654435761u;
}

static int write_and_compare(struct vio_blkdrv *blk)
{
	uint32_t *out = (void *)data(), *in = out + SECTORS * 128;
	struct vio_seg seg = { out, SECTORS * 512 };
	struct vio_blkdrv_req req = { .nr_seg = 1, .seg = &seg };
	int err = VIO_OK;

	for (uint64_t pass = 0; pass < 16 && !err; pass++) {
		pattern(out, (uint32_t)pass);
		req.sector = pass * 61;
		req.type = VIRTIO_BLK_T_OUT;
		seg.base = out;
		err = vio_blkdrv_sync(blk, 0, &req);
		if (err)
			break;
		req.type = VIRTIO_BLK_T_IN;
		seg.base = in;
		err = vio_blkdrv_sync(blk, 0, &req);
		for (uint32_t i = 0; i < SECTORS * 128 && !err; i++)
			if (in[i] != out[i])
				err = VIO_E_PEER;
	}
	return err;
}

/* The program that started us looks for this on the disk. */
static int leave_a_word(struct vio_blkdrv *blk)
{
	static const char word[] = "written without an operating system";
	unsigned char *at = data();
	struct vio_seg seg = { at, 512 };
	struct vio_blkdrv_req req = { .type = VIRTIO_BLK_T_OUT,
				      .nr_seg = 1, .seg = &seg };
	int err;

	for (unsigned i = 0; i < 512; i++)
		at[i] = i < sizeof(word) ? (unsigned char)word[i] : 0;
	err = vio_blkdrv_sync(blk, 0, &req);
	if (err || !vio_drv_has(&blk->drv, VIRTIO_BLK_F_FLUSH))
		return err;
	req = (struct vio_blkdrv_req){ .type = VIRTIO_BLK_T_FLUSH };
	return vio_blkdrv_sync(blk, 0, &req);
}

static int disk(const struct vio_bus_ops *bus, void *ctx)
{
	static struct vio_blkdrv blk;
	struct vio_features wanted = vio_blkdrv_features();
	struct vio_drv_mem mem = memory();
	int err;

	vio_feature_set(&wanted, VIRTIO_F_RING_PACKED);
	err = vio_blkdrv_init(&blk, bus, ctx, &wanted, &limits, 1, &mem);
	if (!err)
		err = write_and_compare(&blk);
	if (!err)
		err = leave_a_word(&blk);
	if (!err && vio_drv_has(&blk.drv, VIRTIO_F_RING_PACKED))
		say("packed ");
	vio_drv_reset(&blk.drv);
	return err;
}

static int entropy(const struct vio_bus_ops *bus, void *ctx)
{
	static struct vio_rngdrv rng;
	const struct vio_features wanted = { { ~0ull, ~0ull } };
	struct vio_drv_mem mem = memory();
	uint32_t got = 0, sum = 0, want = 32;
	int err = vio_rngdrv_init(&rng, bus, ctx, &wanted, &limits, &mem);

	for (unsigned i = 0; i < want; i++)
		data()[i] = 0;
	if (!err)
		err = vio_rngdrv_read(&rng, data(), want, &got);
	for (unsigned i = 0; i < got; i++)
		sum += data()[i];
	/* All zeroes: once in 2^256. */
	if (!err && (!got || !sum))
		err = VIO_E_PEER;
	vio_drv_reset(&rng.drv);
	return err;
}

static int console(const struct vio_bus_ops *bus, void *ctx)
{
	static const char text[] = "hello from a bare machine\n";
	static struct vio_condrv con;
	const struct vio_features wanted = { { ~0ull, ~0ull } };
	struct vio_drv_mem mem = memory();
	int err = vio_condrv_init(&con, bus, ctx, &wanted, &limits, &mem);

	for (unsigned i = 0; i < sizeof(text); i++)
		data()[i] = (unsigned char)text[i];
	if (!err)
		err = vio_condrv_print(&con, data(), sizeof(text) - 1);
	vio_drv_reset(&con.drv);
	return err;
}

void exercise(uint32_t device_id, const struct vio_bus_ops *bus, void *ctx)
{
	switch (device_id) {
	case VIRTIO_ID_BLOCK:
		verdict("disk", disk(bus, ctx));
		break;
	case VIRTIO_ID_ENTROPY:
		verdict("entropy", entropy(bus, ctx));
		break;
	case VIRTIO_ID_CONSOLE:
		verdict("console", console(bus, ctx));
		break;
	default:
		say("a device of type ");
		say_number(device_id);
		say(" is left alone\n");
	}
}

void bare_main(void)
{
	unsigned nr = machine_devices();

	say_number(nr);
	say(" devices, ");
	say_number(failures);
	say(" failed\n");
	machine_off();
}
