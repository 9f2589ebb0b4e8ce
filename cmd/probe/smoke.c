/* SPDX-License-Identifier: MIT */
/*
 * Does the device work? Our own drivers bring it up, with each ring layout
 * that it offers, and do the least that a device of its type has to do.
 */
#define _GNU_SOURCE
#include "probe.h"
#include "smoke_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>
#include <vireo/driver_rng.h>
#include <vireo/spec/virtio.h>

#define WINDOW	(4u << 20)
#define RINGS	(2u << 20)
#define PRIVATE	(1u << 20)
#define WINDOW_ADDR	0x100000ull

static const struct vio_vq_limits limits = { .size = 64, .indirect_max = 8 };

struct bench {
	struct probe *p;
	struct vhu_client *client;
	struct vio_drv_mem mem;
	struct vio_features wanted;
	unsigned char *window, *data;
	void *priv;
	int fd;
	const char *ring;	/* "split" */
	bool bad;
};

/* A line of the report. */
#define TELL(b, ...)							\
	do {								\
		text_fmt(&(b)->p->smoke, "%s: ", (b)->ring);		\
		text_fmt(&(b)->p->smoke, __VA_ARGS__);			\
		text_add(&(b)->p->smoke, "\n", 1);			\
	} while (0)

#define FAIL(b, ...)							\
	do {								\
		(b)->bad = true;					\
		TELL(b, __VA_ARGS__);					\
	} while (0)

static const char *why(int rc)
{
	switch (rc) {
	case VIO_E_PEER:
		return "the device broke the rules of the ring";
	case VIO_E_IO:
		return "no answer in time, or an error";
	case VIO_E_UNSUPP:
		return "it refuses the features";
	case VIO_E_NOSPC:
		return "no room";
	default:
		return "it cannot be set up";
	}
}

/* -- types ---------------------------------------------------------------- */

static void try_rng(struct bench *b)
{
	struct vio_rngdrv rng;
	uint32_t got[2];
	int i, rc;

	rc = vio_rngdrv_init(&rng, &vhu_client_bus, b->client, &b->wanted,
			     &limits, &b->mem);
	for (i = 0; !rc && i < 2; i++)
		rc = vio_rngdrv_read(&rng, b->data + i * 64, 64, &got[i]);
	if (rc) {
		FAIL(b, "random bytes: %s", why(rc));
		return;
	}
	if (got[0] >= 16 && got[1] >= 16 && !memcmp(b->data, b->data + 64, 16))
		FAIL(b, "random bytes: the same twice");
	else
		TELL(b, "%u and %u random bytes", got[0], got[1]);
	vio_drv_reset(&rng.drv);
}

static int blk_run(struct bench *b, struct vio_blkdrv *blk, uint32_t type,
		   uint64_t sector, unsigned char *data, size_t len)
{
	struct vio_seg seg = { data, len };
	struct vio_blkdrv_req req = {
		.type = type, .sector = sector, .seg = &seg, .nr_seg = !!len,
	};

	(void)b;
	return vio_blkdrv_sync(blk, 0, &req);
}

/* The last sectors: write, read back, restore. */
static void blk_write(struct bench *b, struct vio_blkdrv *blk)
{
	uint32_t len = blk->blk_size >= 512 && blk->blk_size <= 65536 ?
		blk->blk_size : 512;
	uint64_t at = (blk->capacity_sectors * 512 / len - 1) * len / 512;
	unsigned char *old = b->data, *mine = old + len, *back = mine + len;
	int rc;

	if (blk->read_only) {
		TELL(b, "not written to: it is read-only");
		return;
	}
	rc = blk_run(b, blk, VIRTIO_BLK_T_IN, at, old, len);
	for (uint32_t i = 0; i < len; i++)
		mine[i] = (unsigned char)(old[i] ^ (i * 7 + 1));
	if (!rc)
		rc = blk_run(b, blk, VIRTIO_BLK_T_OUT, at, mine, len);
	if (!rc)
		rc = blk_run(b, blk, VIRTIO_BLK_T_IN, at, back, len);
	if (!rc && memcmp(mine, back, len))
		FAIL(b, "write: other bytes come back");
	else if (!rc)
		TELL(b, "%u bytes written and read back", len);
	if (!rc)
		rc = blk_run(b, blk, VIRTIO_BLK_T_OUT, at, old, len);
	if (!rc && vio_has(&blk->drv.features, VIRTIO_BLK_F_FLUSH))
		rc = blk_run(b, blk, VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
	if (rc)
		FAIL(b, "write: %s", why(rc));
}

static void try_blk(struct bench *b)
{
	static struct vio_blkdrv blk;
	char id[VIRTIO_BLK_ID_BYTES + 1] = "";
	int rc;

	b->wanted = vio_blkdrv_features();
	if (strcmp(b->ring, "packed"))
		vio_feature_clear(&b->wanted, VIRTIO_F_RING_PACKED);
	rc = vio_blkdrv_init(&blk, &vhu_client_bus, b->client, &b->wanted,
			     &limits, 1, &b->mem);
	if (rc) {
		FAIL(b, "bring up: %s", why(rc));
		return;
	}
	rc = blk_run(b, &blk, VIRTIO_BLK_T_GET_ID, 0, b->data,
		     VIRTIO_BLK_ID_BYTES);
	if (!rc)
		memcpy(id, b->data, VIRTIO_BLK_ID_BYTES);
	for (char *c = id; *c; c++)
		*c = *c < 0x20 || *c > 0x7e ? '?' : *c;
	TELL(b, "identity: %s", rc ? why(rc) : *id ? id : "empty");
	if (blk.capacity_sectors) {
		rc = blk_run(b, &blk, VIRTIO_BLK_T_IN, 0, b->data,
			     blk.blk_size > 512 && blk.blk_size <= 65536 ?
			     blk.blk_size : 512);
		if (rc)
			FAIL(b, "read: %s", why(rc));
		else
			TELL(b, "read the first block");
		if (!rc && b->p->destructive)
			blk_write(b, &blk);
	}
	vio_blkdrv_reset(&blk, NULL, NULL);
}

static void try_console(struct bench *b)
{
	static const char line[] = "vireo probe\r\n";
	struct vio_condrv con;
	int rc;

	rc = vio_condrv_init(&con, &vhu_client_bus, b->client, &b->wanted,
			     &limits, &b->mem);
	if (rc) {
		FAIL(b, "bring up: %s", why(rc));
		return;
	}
	TELL(b, "receive and transmit queues are up, %u columns, %u rows",
	     con.cols, con.rows);
	if (b->p->destructive) {
		memcpy(b->data, line, sizeof(line));
		rc = vio_condrv_print(&con, b->data, sizeof(line) - 1);
		if (rc)
			FAIL(b, "print: %s", why(rc));
		else
			TELL(b, "a line was printed");
	}
	vio_drv_reset(&con.drv);
}

/* -- any device: its queues ----------------------------------------------- */

#define QUEUES	8

struct plain {
	struct vio_drv drv;
	struct vio_vq vq[QUEUES];
	unsigned nr;
};

static int plain_up(struct bench *b, struct plain *d)
{
	unsigned i;
	int rc;

	d->nr = b->p->type ? b->p->type->queues : 1;
	if (b->p->queues && d->nr > b->p->queues)
		d->nr = b->p->queues;
	rc = vio_drv_begin(&d->drv, &vhu_client_bus, b->client, &b->wanted);
	for (i = 0; !rc && i < d->nr; i++)
		rc = vio_drv_queue(&d->drv, (uint16_t)i, &d->vq[i], &limits,
				   &b->mem);
	return rc ? rc : vio_drv_ready(&d->drv);
}

static void try_any(struct bench *b)
{
	struct plain d;
	int rc = plain_up(b, &d);

	if (rc)
		FAIL(b, "bring up: %s", why(rc));
	else
		TELL(b, "%u queues are up", d.nr);
	if (!rc)
		vio_drv_reset(&d.drv);
}

/* A frame of a type for experiments, to nobody in particular. */
static void try_net(struct bench *b)
{
	const uint32_t len = 12 + 60;
	struct vio_seg seg = { b->data, len };
	struct plain d;
	uint32_t used;
	void *back;
	int rc = plain_up(b, &d);

	if (rc) {
		FAIL(b, "bring up: %s", why(rc));
		return;
	}
	if (d.nr < 2) {
		FAIL(b, "one queue; a network has two");
		vio_drv_reset(&d.drv);
		return;
	}
	TELL(b, "receive and transmit queues are up");
	if (b->p->destructive) {
		memset(b->data, 0, len);
		memset(b->data + 12, 0xff, 6);
		memcpy(b->data + 18, "\x02vireo\x88\xb5", 8);
		rc = vio_vq_add(&d.vq[1], &seg, 1, 0, b);
		back = rc ? NULL : vio_drv_wait_used(&d.drv, 1, &d.vq[1],
						     &used);
		TELL(b, back ? "a frame was taken" :
		     "a frame was not taken in time; does anybody receive?");
	}
	vio_drv_reset(&d.drv);
}

/* Of the data, where answers of a file system begin. */
#define FS_OUT	4096u

struct fs {
	struct bench *b;
	struct plain d;
};

static bool fs_ask(void *ctx, const void *in, uint32_t len, void *out,
		   uint32_t room, uint32_t *used)
{
	struct fs *fs = ctx;
	unsigned char *data = fs->b->data;
	struct vio_seg seg[2] = { { data, len }, { data + FS_OUT, room } };

	memcpy(data, in, len);
	memset(data + FS_OUT, 0, room);
	if (vio_vq_add(&fs->d.vq[1], seg, 1, 1, fs) ||
	    !vio_drv_wait_used(&fs->d.drv, 1, &fs->d.vq[1], used))
		return false;
	memcpy(out, data + FS_OUT, room);
	return true;
}

static void fs_tell(void *ctx, bool good, const char *text)
{
	struct fs *fs = ctx;

	if (good)
		TELL(fs->b, "%s", text);
	else
		FAIL(fs->b, "%s", text);
}

static void try_fs(struct bench *b)
{
	struct fs fs = { .b = b };
	int rc = plain_up(b, &fs.d);

	if (!rc && fs.d.nr < 2)
		rc = VIO_E_INVAL;
	if (rc) {
		FAIL(b, "bring up: %s", why(rc));
		return;
	}
	smoke_fs(fs_ask, &fs, fs_tell);
	vio_drv_reset(&fs.d.drv);
}

/* -- the bench ------------------------------------------------------------ */

static bool bench_up(struct bench *b)
{
	struct vhu_client_conf conf = {
		.timeout_ms = b->p->timeout_ms,
		.queue_pairs = b->p->type &&
			       b->p->type->id == VIRTIO_ID_NET,
	};
	int rc;

	/* Nobody knows whose the back end is: it cannot cut it short. */
	b->fd = memfd_create("vireo-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (b->fd < 0 || ftruncate(b->fd, WINDOW) ||
	    fcntl(b->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return false;
	b->window = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED,
			 b->fd, 0);
	b->priv = calloc(1, PRIVATE);
	if (b->window == MAP_FAILED || !b->priv)
		return false;
	conf.mem_fd = b->fd;
	conf.window = (struct vio_window){
		b->window, vio_addr_of(WINDOW_ADDR), WINDOW,
	};
	conf.socket_fd = peer_connect(b->p);
	rc = conf.socket_fd < 0 ? conf.socket_fd :
		vhu_client_open(&b->client, &conf);
	if (rc) {
		FAIL(b, "connect: %s", strerror(-rc));
		return false;
	}
	b->mem.window = conf.window;
	b->mem.shared = (struct vio_arena){ b->window, RINGS };
	b->mem.priv = (struct vio_arena){ b->priv, PRIVATE };
	b->data = b->window + RINGS;
	return true;
}

static void bench_down(struct bench *b)
{
	vhu_client_close(b->client);
	if (b->window && b->window != MAP_FAILED)
		munmap(b->window, WINDOW);
	if (b->fd >= 0)
		close(b->fd);
	free(b->priv);
}

static bool try_layout(struct probe *p, bool packed)
{
	static const struct {
		const char *name;
		void (*fn)(struct bench *b);
	} tries[] = {
		{ "rng", try_rng }, { "blk", try_blk },
		{ "console", try_console }, { "net", try_net },
		{ "fs", try_fs },
	};
	struct bench b = { .p = p, .ring = packed ? "packed" : "split",
			   .fd = -1 };
	void (*fn)(struct bench *) = try_any;

	vio_feature_set(&b.wanted, VIRTIO_F_VERSION_1);
	vio_feature_set(&b.wanted, VIRTIO_F_EVENT_IDX);
	vio_feature_set(&b.wanted, VIRTIO_F_INDIRECT_DESC);
	vio_feature_set(&b.wanted, 0);	/* console: SIZE; net: CSUM */
	if (packed)
		vio_feature_set(&b.wanted, VIRTIO_F_RING_PACKED);
	if (p->type && !strcmp(p->type->name, "net"))
		vio_feature_set(&b.wanted, 15);		/* MRG_RXBUF */
	for (unsigned i = 0; p->type && i < VIO_ARRAY_LEN(tries); i++)
		if (!strcmp(tries[i].name, p->type->name))
			fn = tries[i].fn;
	if (bench_up(&b))
		fn(&b);
	else if (!b.bad)
		FAIL(&b, "no memory to share");
	bench_down(&b);
	return !b.bad;
}

void smoke(struct probe *p)
{
	p->smoke_tried = true;
	p->smoke_good = try_layout(p, false);
	if (has_f(p, VIRTIO_F_RING_PACKED))
		p->smoke_good &= try_layout(p, true);
}
