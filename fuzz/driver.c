/* SPDX-License-Identifier: MIT */
/*
 * The driver's half of the rings and the block driver against a hostile
 * device, which is made of the fuzzer's bytes: it answers the bus with them
 * and writes them over shared memory.
 *
 * The first byte chooses ring features, the second how the device lies; then
 * moves, as in guest.c.
 */
#include "fuzz/guest.h"

#include <vireo/driver_blk.h>
#include <vireo/spec/packed.h>

#define WINDOW		0x10000u	/* bytes shared with the device */
#define RINGS		0xc000u		/* of them, for rings */
#define WINDOW_ADDR	0x100000u
#define REQUESTS	16
#define QUEUES		2
#define MOVES_MOST	1000

enum lies { LIE_FEATURES = 1, LIE_CONFIG = 2, LIE_STATUS = 4, LIE_SIZE = 8 };

struct device {
	struct bytes in;
	uint8_t lies;
	uint32_t status;
	unsigned char *window;
	struct vio_queue_layout at[QUEUES];
	uint16_t used[QUEUES];		/* entry to write next */
	struct vio_blkdrv drv;
	struct vio_blkdrv_req req[REQUESTS];
	struct vio_seg seg[REQUESTS];
	bool busy[REQUESTS];
};

static void device_move(struct device *d);

/* -- the bus ------------------------------------------------------------- */

static int get_status(void *bus, uint32_t *status)
{
	struct device *d = bus;

	*status = d->lies & LIE_STATUS ? bytes_u8(&d->in) : d->status;
	return d->in.left ? VIO_OK : VIO_E_IO;
}

static int set_status(void *bus, uint32_t status)
{
	((struct device *)bus)->status = status;
	return VIO_OK;
}

static int get_features(void *bus, struct vio_features *f)
{
	struct device *d = bus;

	*f = (struct vio_features){ { UINT64_MAX, UINT64_MAX } };
	if (d->lies & LIE_FEATURES)
		f->w[0] = bytes_u32(&d->in) | (uint64_t)bytes_u32(&d->in) << 32;
	return VIO_OK;
}

static int set_features(void *bus, const struct vio_features *f)
{
	(void)bus;
	(void)f;
	return VIO_OK;
}

static int generation(void *bus, uint32_t *g)
{
	struct device *d = bus;

	*g = d->lies & LIE_CONFIG ? bytes_u8(&d->in) : 0;
	return d->in.left ? VIO_OK : VIO_E_IO;
}

static int config_read(void *bus, uint32_t off, void *dst, uint32_t len)
{
	struct device *d = bus;
	const uint8_t *from;
	size_t got;

	(void)off;
	memset(dst, d->lies & LIE_CONFIG ? 0 : 2, len);
	if (d->lies & LIE_CONFIG) {
		got = bytes_take(&d->in, len, &from);
		if (got)
			memcpy(dst, from, got);
	}
	return VIO_OK;
}

static int queue_max(void *bus, uint16_t index, uint16_t *size)
{
	struct device *d = bus;

	(void)index;
	*size = d->lies & LIE_SIZE ? bytes_u16(&d->in) : 16;
	return VIO_OK;
}

static int queue_start(void *bus, uint16_t index,
		       const struct vio_queue_layout *layout)
{
	struct device *d = bus;

	must(index < QUEUES, "only queues that were asked for");
	d->at[index] = *layout;
	d->used[index] = 0;
	return VIO_OK;
}

static void notify(void *bus, uint16_t index, uint16_t next)
{
	(void)bus;
	(void)next;
	must(index < QUEUES, "notifications name a queue");
}

static int wait_used(void *bus, uint16_t index)
{
	struct device *d = bus;

	(void)index;
	if (!d->in.left)
		return VIO_E_IO;
	device_move(d);
	return VIO_OK;
}

static const struct vio_bus_ops bus_ops = {
	.get_status = get_status,
	.set_status = set_status,
	.get_features = get_features,
	.set_features = set_features,
	.generation = generation,
	.config_read = config_read,
	.queue_max = queue_max,
	.queue_start = queue_start,
	.notify = notify,
	.wait = wait_used,
};

/* -- the device's moves -------------------------------------------------- */

static void scribble(struct device *d)
{
	uint16_t at = bytes_u16(&d->in);
	size_t len = bytes_u8(&d->in);
	const uint8_t *from;

	len = bytes_take(&d->in, len, &from);
	if (len > WINDOW - at)
		len = WINDOW - at;
	if (len)
		memcpy(d->window + at, from, len);
}

static unsigned char *at_addr(struct device *d, vio_addr addr)
{
	return d->window + (addr.v - WINDOW_ADDR);
}

/* A used entry where a right device would write it. */
static void use(struct device *d)
{
	unsigned q = bytes_u8(&d->in) % QUEUES;
	uint16_t id = bytes_u8(&d->in);
	uint32_t len = bytes_u16(&d->in);
	struct vio_queue_layout *l = &d->at[q];
	uint16_t n = d->used[q]++;
	unsigned char *p;

	if (!l->size)
		return;
	if (vio_drv_has(&d->drv.drv, VIRTIO_F_RING_PACKED)) {
		bool wrap = !(n / l->size & 1);
		struct pvirtq_desc e = { { 0 }, vio_to_le32(len),
			vio_to_le16(id), vio_to_le16(wrap ?
			PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED : 0) };

		memcpy(at_addr(d, l->desc) + n % l->size * 16, &e, sizeof(e));
	} else {
		struct virtq_used_elem e = { vio_to_le32(id),
					     vio_to_le32(len) };
		vio_le16 idx = vio_to_le16((uint16_t)(n + 1));

		p = at_addr(d, l->device);
		memcpy(p + 4 + n % l->size * 8, &e, sizeof(e));
		memcpy(p + 2, &idx, sizeof(idx));
	}
}

static void device_move(struct device *d)
{
	if (bytes_u8(&d->in) & 1)
		use(d);
	else
		scribble(d);
}

/* -- the driver's moves -------------------------------------------------- */

static void submit(struct device *d)
{
	static const uint8_t types[] = {
		VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
		VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_DISCARD,
		VIRTIO_BLK_T_WRITE_ZEROES,
	};
	unsigned i = bytes_u8(&d->in) % REQUESTS;
	unsigned q = bytes_u8(&d->in) % d->drv.nr_queues;
	struct vio_blkdrv_req *r = &d->req[i];

	if (d->busy[i])
		return;
	*r = (struct vio_blkdrv_req){
		.type = types[bytes_u8(&d->in) % VIO_ARRAY_LEN(types)],
		.sector = bytes_u8(&d->in), .nr_seg = 1, .seg = &d->seg[i],
		.num_sectors = 1,
	};
	d->seg[i] = (struct vio_seg){ d->window + RINGS + i * 512, 512 };
	if (r->type != VIRTIO_BLK_T_IN && r->type != VIRTIO_BLK_T_OUT)
		r->nr_seg = r->type == VIRTIO_BLK_T_GET_ID;
	if (r->type == VIRTIO_BLK_T_GET_ID)
		d->seg[i].len = 20;
	d->busy[i] = vio_blkdrv_submit(&d->drv, q, r) == VIO_OK;
}

static void give_back(struct device *d, struct vio_blkdrv_req *r)
{
	must(r >= d->req && r < d->req + REQUESTS && d->busy[r - d->req],
	     "what comes back was submitted, and comes back once");
	d->busy[r - d->req] = false;
	must(r->used_len <= 513, "no more is written than there was room");
}

static void poll_all(struct device *d)
{
	unsigned q = bytes_u8(&d->in) % d->drv.nr_queues;
	struct vio_blkdrv_req *r;

	vio_blkdrv_commit(&d->drv, q);
	for (unsigned i = 0; i < REQUESTS; i++) {
		r = vio_blkdrv_poll(&d->drv, q);
		if (!r)
			return;
		give_back(d, r);
	}
}

static void lost(void *ctx, struct vio_blkdrv_req *r)
{
	struct device *d = ctx;

	must(r >= d->req && r < d->req + REQUESTS && d->busy[r - d->req],
	     "what is lost was submitted");
	d->busy[r - d->req] = false;
}

static void live(struct device *d)
{
	for (unsigned i = 0; d->in.left && i < MOVES_MOST; i++) {
		switch (bytes_u8(&d->in) % 6) {
		case 0:
		case 1:
			submit(d);
			break;
		case 2:
			poll_all(d);
			break;
		case 3:
			vio_blkdrv_refresh(&d->drv);
			must(d->drv.nr_queues && d->drv.nr_queues <= QUEUES,
			     "no more queues than were made");
			break;
		default:
			device_move(d);
		}
	}
	d->lies = 0;
	d->in = (struct bytes){ (const uint8_t *)"....", 4 };
	if (vio_blkdrv_reset(&d->drv, lost, d) != VIO_OK)
		return;
	for (unsigned i = 0; i < REQUESTS; i++)
		must(!d->busy[i], "a reset gives back all that is in flight");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vio_vq_limits limits = { 16, 4 };
	struct vio_features wanted = vio_blkdrv_features();
	size_t priv_len = vio_blkdrv_private_size(&limits, QUEUES);
	struct device d = { .in = { data, size } };
	unsigned char *priv = calloc(1, priv_len);
	uint8_t choice = bytes_u8(&d.in);
	struct vio_drv_mem mem;

	d.lies = bytes_u8(&d.in);
	d.window = aligned_alloc(4096, WINDOW);
	must(d.window && priv, "there is memory");
	memset(d.window, 0, WINDOW);
	mem = (struct vio_drv_mem){
		.window = { d.window, { WINDOW_ADDR }, WINDOW },
		.shared = { d.window, RINGS }, .priv = { priv, priv_len },
	};
	vio_feature_set(&wanted, VIRTIO_F_RING_PACKED);
	if (choice & 1)
		vio_feature_clear(&wanted, VIRTIO_F_EVENT_IDX);
	if (choice & 2)
		vio_feature_clear(&wanted, VIRTIO_F_INDIRECT_DESC);
	if (choice & 4)
		vio_feature_clear(&wanted, VIRTIO_F_IN_ORDER);
	if (choice & 8)
		vio_feature_clear(&wanted, VIRTIO_F_RING_PACKED);
	if (vio_blkdrv_init(&d.drv, &bus_ops, &d, &wanted, &limits, QUEUES,
			    &mem) == VIO_OK)
		live(&d);
	free(d.window);
	free(priv);
	return 0;
}
