/* SPDX-License-Identifier: MIT */
/*
 * rng.c - the entropy device (standard: 5.4). The shortest complete device,
 * and the one to read first: pop, fill, done. It knows no ring, no address
 * and no transport, and not where the randomness comes from.
 */
#include <vireo/rng.h>
#include <vireo/spec/virtio.h>
#include "core/base/shared64.h"

/* Bytes given to one request; a guest may ask for 4 GiB, and ask again. */
#define MOST	65536u

const uint16_t vio_rng_ctx_size = 0;

static enum vio_service rng_service(struct vio_dev *dev, struct vio_queue *q,
				    unsigned budget)
{
	struct vio_rng *rng = vio_container_of(dev, struct vio_rng, dev);
	struct vio_req *req;
	uint32_t len;

	while (budget--) {
		req = vio_queue_pop(q);
		if (!req)
			return VIO_SERVICE_IDLE;
		len = vio_req_fill(req, MOST, rng->source->fill,
				   rng->source_ctx);
		/* entropy.device.device-operation.1: one byte at the least */
		if (!len && req->write_len) {
			vio_queue_unpop(q, req);
			return VIO_SERVICE_WAIT;
		}
		vio_shared64_add(&rng->bytes, len);
		vio_req_done(req);
	}
	return VIO_SERVICE_MORE;
}

static const struct vio_dev_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_ENTROPY,
	.service = rng_service,
};

int vio_rng_init(struct vio_rng *rng, struct vio_queue *queue,
		 const struct vio_rng_source_ops *source, void *source_ctx)
{
	struct vio_features offered = { { 0, 0 } };

	if (!source || !source->fill)
		return VIO_E_INVAL;
	rng->source = source;
	rng->source_ctx = source_ctx;
	rng->bytes = 0;
	vio_feature_set(&offered, VIRTIO_F_IN_ORDER);
	vio_dev_init(&rng->dev, &rng_ops, &offered, queue, 1, NULL, 0);
	return VIO_OK;
}

void vio_rng_ready(struct vio_rng *rng)
{
	vio_dev_queue_ready(&rng->dev, &rng->dev.queue[VIRTIO_RNG_REQUESTQ]);
}
