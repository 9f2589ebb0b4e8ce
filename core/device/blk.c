/* SPDX-License-Identifier: MIT */
/*
 * blk.c - the block device (standard: 5.2): parse a request, check it, ask
 * the back end, answer. It knows no ring, no address, no transport, and not
 * what the storage is.
 */
#include <vireo/blk.h>
#include <vireo/spec/virtio.h>
#include "core/base/shared64.h"

#define SECTOR		VIRTIO_BLK_SECTOR_SIZE
#define HDR_LEN		((uint32_t)sizeof(struct virtio_blk_req_hdr))
#define BATCH		16	/* requests popped before the first is served */
#define RANGE_LEN	\
	((uint32_t)sizeof(struct virtio_blk_discard_write_zeroes))

/* A range of a discard or write zeroes request, checked. */
struct range {
	uint64_t sector;
	uint32_t num_sectors;
	uint32_t flags;
};

/* What a request needs while the back end has it. */
struct blk_req {
	struct vio_blk_io io;
	struct vio_blk *blk;
	struct vio_req *req;
	uint32_t status_off;	/* of the status byte, in the writable part */
	uint8_t next_range;
	uint8_t nr_ranges;
	struct range range[VIO_BLK_RANGES_MAX];
};

const uint16_t vio_blk_ctx_size = sizeof(struct blk_req);

static struct vio_blk *blk_of(struct vio_dev *dev)
{
	return vio_container_of(dev, struct vio_blk, dev);
}

static uint64_t capacity(const struct vio_blk *blk)
{
	return vio_shared64_get(&blk->conf.capacity_sectors);
}

/* Counters have one writer, the queue's thread, and readers in any. */
#define COUNT(r, field, add)						\
	do {								\
		struct vio_blk_stats *st_ = (r)->blk->stats;		\
									\
		if (st_) {						\
			st_ += (r)->req->queue->index;			\
			vio_shared64_add(&st_->field, (add));		\
		}							\
	} while (0)

/* -- answering ----------------------------------------------------------- */

static void answer(struct blk_req *r, uint8_t status)
{
	if (status != VIRTIO_BLK_S_OK)
		COUNT(r, errors, 1);
	vio_req_put(r->req, r->status_off, &status, 1);
	vio_req_done(r->req);
}

static uint8_t status_of(int result)
{
	switch (result) {
	case VIO_OK:
		return VIRTIO_BLK_S_OK;
	case VIO_E_UNSUPP:
		return VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_IOERR;
	}
}

static void submit(struct blk_req *r)
{
	r->blk->backend->submit(r->blk->backend_ctx, &r->io);
}

static void prepare(struct blk_req *r, enum vio_blk_op op,
		    void (*done)(struct vio_blk_io *, int))
{
	r->io.op = op;
	r->io.flags = 0;
	r->io.nr_seg = 0;
	r->io.queue = r->req->queue->index;
	r->io.seg = NULL;
	r->io.offset = 0;
	r->io.len = 0;
	r->io.done = done;
}

/* -- reading and writing ------------------------------------------------- */

/*
 * Is [sector, sector + len) a piece of the disk? By subtraction: the sum may
 * wrap.
 */
static bool in_disk(const struct vio_blk *blk, uint64_t sector, uint64_t len)
{
	uint64_t cap = capacity(blk);

	return len % SECTOR == 0 && sector <= cap &&
	       len / SECTOR <= cap - sector;
}

static void read_done(struct vio_blk_io *io, int result)
{
	struct blk_req *r = vio_container_of(io, struct blk_req, io);

	if (result == VIO_OK) {
		COUNT(r, bytes_read, io->len);
		vio_req_wrote(r->req, 0, (uint32_t)io->len);
	}
	answer(r, status_of(result));
}

static void do_read(struct blk_req *r, uint64_t sector)
{
	uint32_t len = r->status_off;	/* all before the status byte */
	unsigned nr;

	COUNT(r, reads, 1);
	if (!in_disk(r->blk, sector, len)) {
		answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (!len) {
		answer(r, VIRTIO_BLK_S_OK);
		return;
	}
	prepare(r, VIO_BLK_READ, read_done);
	r->io.seg = vio_req_payload(r->req, true, 0, len, &nr);
	r->io.nr_seg = (uint16_t)nr;
	r->io.offset = sector * SECTOR;
	r->io.len = len;
	submit(r);
}

static void write_done(struct vio_blk_io *io, int result)
{
	struct blk_req *r = vio_container_of(io, struct blk_req, io);

	if (result == VIO_OK && io->op == VIO_BLK_WRITE)
		COUNT(r, bytes_written, io->len);
	answer(r, status_of(result));
}

/*
 * blk.device.device-operation: a write is stable when it completes, unless
 * the cache is in writeback mode.
 */
static uint8_t stable(const struct vio_blk *blk)
{
	return __atomic_load_n(&blk->config.writeback, __ATOMIC_RELAXED) ?
		       0 : VIO_BLK_FUA;
}

static void do_write(struct blk_req *r, uint64_t sector)
{
	uint32_t len = r->req->read_len - HDR_LEN;
	unsigned nr;

	COUNT(r, writes, 1);
	if (r->blk->conf.read_only || !in_disk(r->blk, sector, len)) {
		answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (!len) {
		answer(r, VIRTIO_BLK_S_OK);
		return;
	}
	prepare(r, VIO_BLK_WRITE, write_done);
	r->io.seg = vio_req_payload(r->req, false, HDR_LEN, len, &nr);
	r->io.nr_seg = (uint16_t)nr;
	r->io.offset = sector * SECTOR;
	r->io.len = len;
	r->io.flags = stable(r->blk);
	submit(r);
}

static void do_flush(struct blk_req *r, uint64_t sector)
{
	(void)sector;
	COUNT(r, flushes, 1);
	prepare(r, VIO_BLK_FLUSH, write_done);
	submit(r);
}

static void do_get_id(struct blk_req *r, uint64_t sector)
{
	const struct vio_blk *blk = r->blk;
	uint32_t len = r->status_off;

	(void)sector;
	COUNT(r, others, 1);
	/* The driver must offer 20 bytes; one with less gets what fits. */
	if (len > VIRTIO_BLK_ID_BYTES)
		len = VIRTIO_BLK_ID_BYTES;
	vio_req_put(r->req, 0, blk->conf.serial, len);
	answer(r, VIRTIO_BLK_S_OK);
}

/* -- ranges: discard and write zeroes ------------------------------------ */

static void next_range(struct blk_req *r);

static void range_done(struct vio_blk_io *io, int result)
{
	struct blk_req *r = vio_container_of(io, struct blk_req, io);

	if (result != VIO_OK || r->next_range == r->nr_ranges)
		answer(r, status_of(result));
	else
		next_range(r);
}

/* At most VIO_BLK_RANGES_MAX deep where a back end is done at once. */
static void next_range(struct blk_req *r)
{
	const struct range *g = &r->range[r->next_range++];

	r->io.offset = g->sector * SECTOR;
	r->io.len = (uint64_t)g->num_sectors * SECTOR;
	r->io.flags &= ~VIO_BLK_UNMAP;
	if ((g->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) &&
	    r->blk->conf.write_zeroes_may_unmap)
		r->io.flags |= VIO_BLK_UNMAP;
	submit(r);
}

/*
 * Copy the ranges out of guest memory and check them all before the first is
 * carried out. Returns a status.
 */
static uint8_t read_ranges(struct blk_req *r, uint32_t max_ranges,
			   uint32_t max_sectors, uint32_t flags_ok)
{
	const struct vio_dev *dev = &r->blk->dev;
	struct vio_cursor c = vio_req_reader(r->req);
	struct virtio_blk_discard_write_zeroes wire;
	uint32_t len = r->req->read_len - HDR_LEN, n = len / RANGE_LEN;
	bool bad = false;

	r->nr_ranges = 0;
	r->next_range = 0;
	if (!n || len % RANGE_LEN || n > max_ranges ||
	    !vio_cursor_skip(&c, HDR_LEN))
		return VIRTIO_BLK_S_IOERR;
	while (n-- && vio_cursor_read(&c, &wire, RANGE_LEN)) {
		uint64_t sector = vio_dev_from64(dev, wire.sector);
		uint32_t num = vio_dev_from32(dev, wire.num_sectors);
		uint32_t fl = vio_dev_from32(dev, wire.flags);

		/* blk.device.device-operation: unknown flags are UNSUPP. */
		if (fl & ~flags_ok)
			return VIRTIO_BLK_S_UNSUPP;
		bad |= num > max_sectors ||
		       !in_disk(r->blk, sector, (uint64_t)num * SECTOR);
		if (num)
			r->range[r->nr_ranges++] =
				(struct range){ sector, num, fl };
	}
	return bad ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static void start_ranges(struct blk_req *r, uint8_t status)
{
	/* blk.device.device-operation: nothing is written if read-only. */
	if (status == VIRTIO_BLK_S_OK && r->blk->conf.read_only)
		status = VIRTIO_BLK_S_IOERR;
	if (status != VIRTIO_BLK_S_OK || !r->nr_ranges)
		answer(r, status);
	else
		next_range(r);
}

static void do_discard(struct blk_req *r, uint64_t sector)
{
	const struct vio_blk_conf *conf = &r->blk->conf;

	(void)sector;
	COUNT(r, others, 1);
	if (!vio_dev_has(&r->blk->dev, VIRTIO_BLK_F_DISCARD)) {
		answer(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	prepare(r, VIO_BLK_DISCARD, range_done);
	start_ranges(r, read_ranges(r, conf->max_discard_seg,
				    conf->max_discard_sectors, 0));
}

static void do_write_zeroes(struct blk_req *r, uint64_t sector)
{
	const struct vio_blk_conf *conf = &r->blk->conf;

	(void)sector;
	COUNT(r, others, 1);
	if (!vio_dev_has(&r->blk->dev, VIRTIO_BLK_F_WRITE_ZEROES)) {
		answer(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	prepare(r, VIO_BLK_WRITE_ZEROES, range_done);
	r->io.flags = stable(r->blk);
	start_ranges(r, read_ranges(r, conf->max_write_zeroes_seg,
				    conf->max_write_zeroes_sectors,
				    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP));
}

/* -- dispatch ------------------------------------------------------------ */

/*
 * Every type of the chapter; one without a handler here, and any other
 * number, is answered UNSUPP.
 */
static void (*const handler[])(struct blk_req *r, uint64_t sector) = {
	[VIRTIO_BLK_T_IN] = do_read,
	[VIRTIO_BLK_T_OUT] = do_write,
	[VIRTIO_BLK_T_FLUSH] = do_flush,
	[VIRTIO_BLK_T_GET_ID] = do_get_id,
	[VIRTIO_BLK_T_DISCARD] = do_discard,
	[VIRTIO_BLK_T_WRITE_ZEROES] = do_write_zeroes,
};

static void handle(struct vio_blk *blk, struct vio_req *req)
{
	struct blk_req *r = vio_req_ctx(req);
	struct vio_cursor c = vio_req_reader(req);
	struct virtio_blk_req_hdr hdr;
	uint32_t type;

	r->blk = blk;
	r->req = req;
	if (vio_unlikely(!req->write_len)) {
		/* Nowhere to put a status: all that can be done is to give
		 * the buffer back, and to say so. */
		vio_dev_log(&blk->dev, VIO_LOG_WARN,
			    "block request without room for its status",
			    (const struct vio_named[]){ { "queue",
				req->queue->index } }, 1);
		vio_req_done(req);
		return;
	}
	r->status_off = req->write_len - 1;
	if (vio_unlikely(!vio_cursor_read(&c, &hdr, HDR_LEN))) {
		answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	type = vio_dev_from32(&blk->dev, hdr.type);
	if (vio_unlikely(type >= VIO_ARRAY_LEN(handler) || !handler[type])) {
		COUNT(r, others, 1);
		answer(r, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	handler[type](r, vio_dev_from64(&blk->dev, hdr.sector));
}

/* Pop requests and let their headers come, before the first is looked at. */
static unsigned pop_batch(struct vio_queue *q, struct vio_req **req,
			  unsigned max)
{
	unsigned n = vio_queue_pop_many(q, req, max);

	for (unsigned i = 0; i < n; i++)
		vio_req_prefetch(req[i]);
	return n;
}

static enum vio_service blk_service(struct vio_dev *dev, struct vio_queue *q,
				    unsigned budget)
{
	struct vio_blk *blk = blk_of(dev);
	struct vio_req *req[BATCH];
	bool more = true;

	while (budget && more) {
		unsigned max = budget < BATCH ? budget : BATCH;
		unsigned n = pop_batch(q, req, max);

		for (unsigned i = 0; i < n; i++)
			handle(blk, req[i]);
		more = n == max;
		budget -= n;
	}
	blk->backend->commit(blk->backend_ctx, q->index);
	return more ? VIO_SERVICE_MORE : VIO_SERVICE_IDLE;
}

static void blk_queue_stop(struct vio_dev *dev, struct vio_queue *q)
{
	struct vio_blk *blk = blk_of(dev);

	blk->backend->commit(blk->backend_ctx, q->index);
	if (blk->backend->drain)
		blk->backend->drain(blk->backend_ctx, q->index);
}

/* -- configuration ------------------------------------------------------- */

static void set_writeback(struct vio_blk *blk, bool on)
{
	__atomic_store_n(&blk->config.writeback, on, __ATOMIC_RELAXED);
}

static void blk_reset(struct vio_dev *dev)
{
	struct vio_blk *blk = blk_of(dev);

	set_writeback(blk, !blk->conf.writethrough && !blk->conf.no_flush);
}

/* The cache mode follows from what the driver accepted (5.2.5.2, 5.2.6.2). */
static void blk_features_ok(struct vio_dev *dev)
{
	struct vio_blk *blk = blk_of(dev);

	/* Without FLUSH the driver could never make a write stable. */
	if (!vio_dev_has(dev, VIRTIO_BLK_F_FLUSH) && !blk->conf.no_flush)
		set_writeback(blk, false);
}

static int blk_config_write(struct vio_dev *dev, uint32_t off,
			    const void *src, uint32_t len)
{
	struct vio_blk *blk = blk_of(dev);
	uint8_t mode;

	/* writeback is the one field that a driver may write. */
	if (off != offsetof(struct virtio_blk_config, writeback) || len != 1 ||
	    !vio_dev_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
		return VIO_E_PEER;
	mode = *(const uint8_t *)src;
	if (mode > 1)
		return VIO_E_PEER;
	set_writeback(blk, mode);
	return VIO_OK;
}

static const struct vio_dev_ops blk_ops = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK,
	.features_ok = blk_features_ok,
	.service = blk_service,
	.queue_stop = blk_queue_stop,
	.reset = blk_reset,
	.config_write = blk_config_write,
};

static void fill_config(struct virtio_blk_config *c,
			const struct vio_blk_conf *conf)
{
	*c = (struct virtio_blk_config){
		.capacity = vio_to_le64(conf->capacity_sectors),
		.size_max = vio_to_le32(conf->size_max),
		.seg_max = vio_to_le32(conf->seg_max),
		.geometry = conf->geometry,
		.blk_size = vio_to_le32(conf->blk_size),
		.topology = {
			.physical_block_exp = conf->physical_block_exp,
			.alignment_offset = conf->alignment_offset,
			.min_io_size = vio_to_le16(conf->min_io_blocks),
			.opt_io_size = vio_to_le32(conf->opt_io_blocks),
		},
		.num_queues = vio_to_le16(conf->num_queues),
		.max_discard_sectors = vio_to_le32(conf->max_discard_sectors),
		.max_discard_seg = vio_to_le32(conf->max_discard_seg),
		.discard_sector_alignment =
			vio_to_le32(conf->discard_sector_alignment),
		.max_write_zeroes_sectors =
			vio_to_le32(conf->max_write_zeroes_sectors),
		.max_write_zeroes_seg =
			vio_to_le32(conf->max_write_zeroes_seg),
		.write_zeroes_may_unmap = conf->write_zeroes_may_unmap,
	};
}

static struct vio_features features_of(const struct vio_blk_conf *conf)
{
	const struct { unsigned bit; bool on; } table[] = {
		{ VIRTIO_BLK_F_SIZE_MAX, conf->size_max },
		{ VIRTIO_BLK_F_SEG_MAX, conf->seg_max },
		{ VIRTIO_BLK_F_GEOMETRY, conf->geometry.cylinders.raw },
		{ VIRTIO_BLK_F_RO, conf->read_only },
		{ VIRTIO_BLK_F_BLK_SIZE, true },
		{ VIRTIO_BLK_F_FLUSH, !conf->no_flush },
		{ VIRTIO_BLK_F_TOPOLOGY, conf->topology },
		{ VIRTIO_BLK_F_CONFIG_WCE, !conf->no_flush },
		{ VIRTIO_BLK_F_MQ, conf->num_queues > 1 },
		{ VIRTIO_BLK_F_DISCARD, conf->max_discard_sectors },
		{ VIRTIO_BLK_F_WRITE_ZEROES, conf->max_write_zeroes_sectors },
		{ VIRTIO_F_IN_ORDER, conf->in_order },
	};
	struct vio_features f = { { 0, 0 } };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(table); i++)
		if (table[i].on)
			vio_feature_set(&f, table[i].bit);
	return f;
}

/* Do the numbers go together? */
static bool conf_ok(const struct vio_blk_conf *conf)
{
	return conf->capacity_sectors <= UINT64_MAX / SECTOR &&
	       conf->blk_size >= SECTOR &&
	       !(conf->blk_size & (conf->blk_size - 1)) &&
	       conf->max_discard_seg <= VIO_BLK_RANGES_MAX &&
	       conf->max_write_zeroes_seg <= VIO_BLK_RANGES_MAX &&
	       !conf->max_discard_sectors == !conf->max_discard_seg &&
	       !conf->max_write_zeroes_sectors == !conf->max_write_zeroes_seg;
}

int vio_blk_init(struct vio_blk *blk, const struct vio_blk_conf *conf,
		 struct vio_queue *queue,
		 const struct vio_blk_backend_ops *backend, void *backend_ctx,
		 struct vio_blk_stats *stats)
{
	struct vio_features offered;

	if (!backend || !backend->submit || !backend->commit)
		return VIO_E_INVAL;
	*blk = (struct vio_blk){
		.conf = *conf, .backend = backend,
		.backend_ctx = backend_ctx, .stats = stats,
	};
	if (!blk->conf.blk_size)
		blk->conf.blk_size = SECTOR;
	if (!blk->conf.num_queues)
		blk->conf.num_queues = 1;
	if (!conf_ok(&blk->conf))
		return VIO_E_INVAL;
	fill_config(&blk->config, &blk->conf);
	offered = features_of(&blk->conf);
	vio_dev_init(&blk->dev, &blk_ops, &offered, queue,
		     blk->conf.num_queues, &blk->config, sizeof(blk->config));
	blk_reset(&blk->dev);
	return VIO_OK;
}

void vio_blk_resize(struct vio_blk *blk, uint64_t capacity_sectors)
{
	vio_shared64_set(&blk->conf.capacity_sectors, capacity_sectors);
	blk->config.capacity = vio_to_le64(capacity_sectors);
	vio_dev_config_changed(&blk->dev);
}
