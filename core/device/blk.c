/* SPDX-License-Identifier: MIT */
/*
 * blk.c - the block device (standard: 5.2): parse a request, check it, ask
 * the back end, answer. It knows no ring, no address, no transport, and not
 * what the storage is.
 */
#include "core/device/blk.h"
#include "core/mem/access.h"

#define BATCH		16	/* requests popped before the first is served */

const uint16_t vio_blk_ctx_size = sizeof(struct blk_req);

static struct vio_blk *blk_of(struct vio_dev *dev)
{
	return vio_container_of(dev, struct vio_blk, dev);
}

/* -- answering ----------------------------------------------------------- */

/* The segment with the last byte of what the driver lets us write. */
static const struct vio_seg *last_of(const struct vio_req *req)
{
	return req->seg + req->nr_read + req->nr_write - 1;
}

/*
 * Nearly always the status is a segment of its own, and nobody keeps a log of
 * what is written: then there is nothing to it but a store.
 */
static bool put_status(struct vio_req *req, uint32_t off, uint8_t status)
{
	const struct vio_seg *s = last_of(req);

	if (vio_unlikely(s->len != 1 ||
			 vio_mem_is_logged(req->queue->maps[req->map].mem)))
		return false;
	if (off == req->written)
		req->written = off + 1;
	vio_copy_out(s->base, &status, 1);
	return true;
}

void blk_answer(struct blk_req *r, uint8_t status)
{
	if (vio_unlikely(status == BLK_LEFT)) {
		vio_req_leave(r->req);
		return;
	}
	if (status != VIRTIO_BLK_S_OK)
		BLK_COUNT(r, errors, 1);
	if (!put_status(r->req, r->status_off, status))
		vio_req_put(r->req, r->status_off, &status, 1);
	vio_req_done(r->req);
}

uint8_t blk_status_of(const struct blk_req *r, int result)
{
	if (vio_likely(result == VIO_OK))
		return VIRTIO_BLK_S_OK;
	if (result == VIO_E_UNSUPP)
		return VIRTIO_BLK_S_UNSUPP;
	if (result == VIO_E_AGAIN && r->req->queue->leaves)
		return BLK_LEFT;
	/* A driver that knows no zones knows no such status. */
	if (result >= VIRTIO_BLK_S_ZONE_INVALID_CMD &&
	    result <= VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE &&
	    vio_dev_has(&r->blk->dev, VIRTIO_BLK_F_ZONED))
		return (uint8_t)result;
	return VIRTIO_BLK_S_IOERR;
}

void blk_plain_done(struct vio_blk_io *io, int result)
{
	struct blk_req *r = vio_container_of(io, struct blk_req, io);

	blk_answer(r, blk_status_of(r, result));
}

void blk_prepare(struct blk_req *r, enum vio_blk_op op,
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

static void read_done(struct vio_blk_io *io, int result)
{
	struct blk_req *r = vio_container_of(io, struct blk_req, io);

	if (result == VIO_OK) {
		BLK_COUNT(r, bytes_read, io->len);
		vio_req_wrote(r->req, 0, (uint32_t)io->len);
	}
	blk_answer(r, blk_status_of(r, result));
}

static void do_read(struct blk_req *r, uint64_t sector)
{
	uint32_t len = r->status_off;	/* all before the status byte */
	unsigned nr;

	BLK_COUNT(r, reads, 1);
	if (!blk_in_disk(r->blk, sector, len)) {
		blk_answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (!len) {
		blk_answer(r, VIRTIO_BLK_S_OK);
		return;
	}
	blk_prepare(r, VIO_BLK_READ, read_done);
	if (vio_likely(last_of(r->req)->len == 1)) {
		r->io.seg = r->req->seg + r->req->nr_read;
		nr = r->req->nr_write - 1u;
	} else {
		r->io.seg = vio_req_payload(r->req, true, 0, len, &nr);
	}
	r->io.nr_seg = (uint16_t)nr;
	r->io.offset = sector * SECTOR;
	r->io.len = len;
	blk_submit(r);
}

static void write_done(struct vio_blk_io *io, int result)
{
	struct blk_req *r = vio_container_of(io, struct blk_req, io);

	if (result == VIO_OK)
		BLK_COUNT(r, bytes_written, io->len);
	blk_answer(r, blk_status_of(r, result));
}

static void do_write(struct blk_req *r, uint64_t sector)
{
	uint32_t len = r->req->read_len - HDR_LEN;
	unsigned nr;

	BLK_COUNT(r, writes, 1);
	if (r->blk->conf.read_only || !blk_in_disk(r->blk, sector, len)) {
		blk_answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (!len) {
		blk_answer(r, VIRTIO_BLK_S_OK);
		return;
	}
	blk_prepare(r, VIO_BLK_WRITE, write_done);
	if (vio_likely(r->req->seg->len == HDR_LEN)) {
		r->io.seg = r->req->seg + 1;
		nr = r->req->nr_read - 1u;
	} else {
		r->io.seg = vio_req_payload(r->req, false, HDR_LEN, len, &nr);
	}
	r->io.nr_seg = (uint16_t)nr;
	r->io.offset = sector * SECTOR;
	r->io.len = len;
	r->io.flags = blk_stable(r->blk);
	blk_submit(r);
}

static void do_flush(struct blk_req *r, uint64_t sector)
{
	(void)sector;
	BLK_COUNT(r, flushes, 1);
	blk_prepare(r, VIO_BLK_FLUSH, blk_plain_done);
	blk_submit(r);
}

static void do_get_id(struct blk_req *r, uint64_t sector)
{
	const struct vio_blk *blk = r->blk;
	uint32_t len = r->status_off;

	(void)sector;
	BLK_COUNT(r, others, 1);
	/* The driver must offer 20 bytes; one with less gets what fits. */
	if (len > VIRTIO_BLK_ID_BYTES)
		len = VIRTIO_BLK_ID_BYTES;
	vio_req_put(r->req, 0, blk->conf.serial, len);
	blk_answer(r, VIRTIO_BLK_S_OK);
}

/* Numbers that the standard reserves are not passed on. */
static uint16_t at_most(uint8_t v, uint8_t max)
{
	return v <= max ? v : 0;
}

static void do_lifetime(struct blk_req *r, uint64_t sector)
{
	const struct vio_blk *blk = r->blk;
	const struct vio_dev *dev = &blk->dev;
	struct virtio_blk_lifetime wire;
	struct vio_blk_wear w = { 0, 0, 0 };
	uint8_t status = VIRTIO_BLK_S_OK;

	(void)sector;
	BLK_COUNT(r, others, 1);
	if (!vio_dev_has(dev, VIRTIO_BLK_F_LIFETIME))
		status = VIRTIO_BLK_S_UNSUPP;
	else if (r->status_off < sizeof(wire) ||
		 blk->backend->wear(blk->backend_ctx, &w) != VIO_OK)
		status = VIRTIO_BLK_S_IOERR;
	if (status == VIRTIO_BLK_S_OK) {
		/* blk.device.device-operation.15 */
		wire.pre_eol_info = vio_dev_to16(dev,
			at_most(w.pre_eol, VIRTIO_BLK_PRE_EOL_INFO_URGENT));
		wire.device_lifetime_est_typ_a = vio_dev_to16(dev,
			at_most(w.slc, VIRTIO_BLK_LIFETIME_EST_MAX));
		wire.device_lifetime_est_typ_b = vio_dev_to16(dev,
			at_most(w.mlc, VIRTIO_BLK_LIFETIME_EST_MAX));
		vio_req_put(r->req, 0, &wire, sizeof(wire));
	}
	blk_answer(r, status);
}

/* Only legacy drivers know it, as another name. */
static void do_flush_out(struct blk_req *r, uint64_t sector)
{
	if (vio_dev_legacy(&r->blk->dev)) {
		do_flush(r, sector);
		return;
	}
	BLK_COUNT(r, others, 1);
	blk_answer(r, VIRTIO_BLK_S_UNSUPP);
}

/* -- dispatch ------------------------------------------------------------ */

/*
 * Every type of the chapter; one without a handler here, and any other
 * number, is answered UNSUPP: SCSI commands and barriers among them, whose
 * features are not offered.
 */
static blk_handler *const handler[] = {
	[VIRTIO_BLK_T_IN] = do_read,
	[VIRTIO_BLK_T_OUT] = do_write,
	[VIRTIO_BLK_T_FLUSH] = do_flush,
	[VIRTIO_BLK_T_FLUSH_OUT] = do_flush_out,
	[VIRTIO_BLK_T_GET_ID] = do_get_id,
	[VIRTIO_BLK_T_GET_LIFETIME] = do_lifetime,
	[VIRTIO_BLK_T_DISCARD] = blk_discard,
	[VIRTIO_BLK_T_WRITE_ZEROES] = blk_write_zeroes,
	[VIRTIO_BLK_T_SECURE_ERASE] = blk_secure_erase,
	[VIRTIO_BLK_T_ZONE_APPEND] = blk_zone_append,
	[VIRTIO_BLK_T_ZONE_REPORT] = blk_zone_report,
	[VIRTIO_BLK_T_ZONE_OPEN] = blk_zone_open,
	[VIRTIO_BLK_T_ZONE_CLOSE] = blk_zone_close,
	[VIRTIO_BLK_T_ZONE_FINISH] = blk_zone_finish,
	[VIRTIO_BLK_T_ZONE_RESET] = blk_zone_reset,
	[VIRTIO_BLK_T_ZONE_RESET_ALL] = blk_zone_reset_all,
};

/* A header is nearly always a segment of its own. */
static bool get_header(struct vio_req *req, struct virtio_blk_req_hdr *hdr)
{
	if (vio_unlikely(!req->nr_read || req->seg->len < HDR_LEN))
		return vio_req_get(req, hdr, HDR_LEN);
	vio_copy_in(hdr, req->seg->base, HDR_LEN);
	return true;
}

static void handle(struct vio_blk *blk, struct vio_req *req)
{
	struct blk_req *r = vio_req_ctx(req);
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
	if (vio_unlikely(!get_header(req, &hdr))) {
		blk_answer(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	type = vio_dev_from32(&blk->dev, hdr.type);
	if (vio_unlikely(type >= VIO_ARRAY_LEN(handler) || !handler[type])) {
		BLK_COUNT(r, others, 1);
		blk_answer(r, VIRTIO_BLK_S_UNSUPP);
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
	if (q->leaves && blk->backend->leave)
		blk->backend->leave(blk->backend_ctx, q->index);
	if (blk->backend->drain)
		blk->backend->drain(blk->backend_ctx, q->index);
}

static const struct vio_dev_ops blk_ops = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK,
	.check_features = blk_check_features,
	.features_ok = blk_features_ok,
	.service = blk_service,
	.queue_stop = blk_queue_stop,
	.reset = blk_reset,
	.config_fields = "844" "211" "4" "1124" "112" "44444" "1111"
			 "444" "44444",
	.config_write = blk_config_write,
};

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
	if (!blk_conf_ok(&blk->conf, backend))
		return VIO_E_INVAL;
	blk_fill_config(&blk->config, &blk->conf);
	offered = blk_features_of(&blk->conf);
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
