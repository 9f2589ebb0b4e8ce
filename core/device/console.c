/* SPDX-License-Identifier: MIT */
/*
 * console.c - the console device (standard: 5.3) with one port. What the
 * guest prints is kept until the host took it; what the host typed waits
 * until the guest has a buffer. It knows no ring and no terminal.
 */
#include <vireo/console.h>
#include <vireo/spec/virtio.h>
#include <vireo/state.h>
#include "core/base/shared64.h"

#define SPANS	8

const uint16_t vio_console_ctx_size = 0;

static struct vio_console *console_of(struct vio_dev *dev)
{
	return vio_container_of(dev, struct vio_console, dev);
}

/* -- to the guest -------------------------------------------------------- */

static enum vio_service service_rx(struct vio_console *con,
				   struct vio_queue *q, unsigned budget)
{
	struct vio_req *req;
	uint32_t len;

	while (budget--) {
		req = vio_queue_pop(q);
		if (!req)
			return VIO_SERVICE_IDLE;
		len = vio_req_fill(req, UINT32_MAX, con->backend->read,
				   con->backend_ctx);
		if (!len && req->write_len) {
			vio_queue_unpop(q, req);
			return VIO_SERVICE_WAIT;
		}
		vio_shared64_add(&con->stats.bytes_in, len);
		vio_req_done(req);
	}
	return VIO_SERVICE_MORE;
}

/* -- from the guest ------------------------------------------------------ */

/* Print what is left of con->tx. False if the host has no room for more. */
static bool transmit(struct vio_console *con)
{
	struct vio_cursor c = vio_req_reader(con->tx);
	struct vio_seg seg[SPANS];
	uint32_t taken;
	size_t got;

	if (!vio_cursor_skip(&c, con->tx_pos))
		return true;
	while (c.left) {
		unsigned n = vio_cursor_spans(&c, c.left, seg, SPANS, &taken);

		for (unsigned i = 0; i < n; i++) {
			got = con->backend->write(con->backend_ctx,
						  seg[i].base, seg[i].len);
			if (got > seg[i].len)
				got = seg[i].len;
			con->tx_pos += got;
			vio_shared64_add(&con->stats.bytes_out, got);
			if (got < seg[i].len)
				return false;
		}
	}
	return true;
}

static enum vio_service service_tx(struct vio_console *con,
				   struct vio_queue *q, unsigned budget)
{
	while (budget--) {
		if (!con->tx)
			con->tx = vio_queue_pop(q);
		if (!con->tx)
			return VIO_SERVICE_IDLE;
		if (!transmit(con))
			return VIO_SERVICE_WAIT;
		vio_req_done(con->tx);
		con->tx = NULL;
		con->tx_pos = 0;
	}
	return VIO_SERVICE_MORE;
}

/* -- operations ---------------------------------------------------------- */

static enum vio_service console_service(struct vio_dev *dev,
					struct vio_queue *q, unsigned budget)
{
	struct vio_console *con = console_of(dev);

	return q->index == VIO_CONSOLE_RXQ ? service_rx(con, q, budget) :
					     service_tx(con, q, budget);
}

/*
 * A buffer that is half printed goes back; tx_pos remembers how far it got,
 * so that it is neither cut nor printed twice when the ring goes on.
 */
static void console_queue_stop(struct vio_dev *dev, struct vio_queue *q)
{
	struct vio_console *con = console_of(dev);

	if (q->index != VIO_CONSOLE_TXQ || !con->tx)
		return;
	vio_queue_unpop(q, con->tx);
	con->tx = NULL;
}

static void console_reset(struct vio_dev *dev)
{
	console_of(dev)->tx_pos = 0;
}

/* console.device.device-initialization: emerg_wr works at any time. */
static int console_config_write(struct vio_dev *dev, uint32_t off,
				const void *src, uint32_t len)
{
	const uint32_t emerg = offsetof(struct virtio_console_config,
					emerg_wr);
	struct vio_console *con = console_of(dev);

	/* The lower byte counts, and it comes first. */
	if (off != emerg || !len)
		return VIO_E_PEER;
	if (con->backend->emergency)
		con->backend->emergency(con->backend_ctx,
					*(const unsigned char *)src);
	return VIO_OK;
}

/* Of the buffer that is offered next: bytes that are printed already. */
#define STATE_TX_POS 1u

static void console_save(struct vio_dev *dev, struct vio_state_out *out)
{
	uint32_t pos = console_of(dev)->tx_pos;

	if (pos)
		vio_state_put32(out, STATE_TX_POS, VIO_STATE_MUST, pos);
}

static int console_load(struct vio_dev *dev, const struct vio_state_record *r)
{
	if (r->tag != STATE_TX_POS)
		return VIO_E_UNSUPP;
	/* One that is behind the buffer's end finds it printed. */
	return vio_state_get32(r, &console_of(dev)->tx_pos);
}

static const struct vio_dev_ops console_ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.service = console_service,
	.queue_stop = console_queue_stop,
	.reset = console_reset,
	.config_fields = "2244",
	.config_write = console_config_write,
	.save = console_save,
	.load = console_load,
};

int vio_console_init(struct vio_console *con,
		     const struct vio_console_conf *conf,
		     struct vio_queue *queue,
		     const struct vio_console_backend_ops *backend,
		     void *backend_ctx)
{
	struct vio_features offered = { { 0, 0 } };

	if (!backend || !backend->read || !backend->write)
		return VIO_E_INVAL;
	*con = (struct vio_console){
		.config = {
			.cols = vio_to_le16(conf->cols),
			.rows = vio_to_le16(conf->rows),
			.max_nr_ports = vio_to_le32(1),
		},
		.backend = backend,
		.backend_ctx = backend_ctx,
	};
	if (conf->cols && conf->rows)
		vio_feature_set(&offered, VIRTIO_CONSOLE_F_SIZE);
	if (backend->emergency)
		vio_feature_set(&offered, VIRTIO_CONSOLE_F_EMERG_WRITE);
	vio_feature_set(&offered, VIRTIO_F_IN_ORDER);
	vio_dev_init(&con->dev, &console_ops, &offered, queue,
		     VIO_CONSOLE_QUEUES, &con->config, sizeof(con->config));
	return VIO_OK;
}

void vio_console_readable(struct vio_console *con)
{
	vio_dev_queue_ready(&con->dev, &con->dev.queue[VIO_CONSOLE_RXQ]);
}

void vio_console_writable(struct vio_console *con)
{
	vio_dev_queue_ready(&con->dev, &con->dev.queue[VIO_CONSOLE_TXQ]);
}

void vio_console_resize(struct vio_console *con, uint16_t cols, uint16_t rows)
{
	con->config.cols = vio_to_le16(cols);
	con->config.rows = vio_to_le16(rows);
	/* Only a driver that reads the size is told that it changed. */
	if (vio_dev_has(&con->dev, VIRTIO_CONSOLE_F_SIZE))
		vio_dev_config_changed(&con->dev);
}
