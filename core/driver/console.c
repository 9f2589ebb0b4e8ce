/* SPDX-License-Identifier: MIT */
/*
 * The console driver, one port: buffers wait for input, output is sent from
 * where it lies. Knows no bus and no ring layout.
 */
#include <vireo/driver_console.h>

#include "core/mem/access.h"

enum { RXQ = 0, TXQ = 1 };

size_t vio_condrv_shared_size(const struct vio_vq_limits *limits)
{
	return 2 * vio_vq_shared_size(limits) +
	       VIO_CONDRV_BUFS * VIO_CONDRV_BUF_LEN;
}

/* Give a buffer (back) to the device. */
static int offer(struct vio_condrv *con, struct vio_condrv_buf *b)
{
	struct vio_seg seg = { b->data, VIO_CONDRV_BUF_LEN };

	/* console.driver.device-operation.1: writable only */
	return vio_vq_add(&con->rx, &seg, 0, 1, b);
}

static int offer_all(struct vio_condrv *con, struct vio_arena *shared)
{
	unsigned i;
	int err;

	for (i = 0; i < VIO_CONDRV_BUFS && i < con->rx.size; i++) {
		con->buf[i].data = vio_arena_take(shared, VIO_CONDRV_BUF_LEN,
						  1);
		if (!con->buf[i].data)
			return VIO_E_NOSPC;
		err = offer(con, &con->buf[i]);
		if (err)
			return err;
	}
	return VIO_OK;
}

int vio_condrv_refresh(struct vio_condrv *con)
{
	static const struct vio_drv_field fields[] = {
		{ offsetof(struct virtio_console_config, cols), 2,
		  VIRTIO_CONSOLE_F_SIZE, 0 },
		{ offsetof(struct virtio_console_config, rows), 2,
		  VIRTIO_CONSOLE_F_SIZE, 0 },
	};
	struct virtio_console_config c;
	int err;

	if (!vio_drv_has(&con->drv, VIRTIO_CONSOLE_F_SIZE))
		return VIO_OK;
	err = vio_drv_config_fields(&con->drv, fields,
				    VIO_ARRAY_LEN(fields), &c);
	if (err)
		return err;
	con->cols = vio_drv_from16(&con->drv, c.cols);
	con->rows = vio_drv_from16(&con->drv, c.rows);
	return VIO_OK;
}

int vio_condrv_init(struct vio_condrv *con, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_features *wanted,
		    const struct vio_vq_limits *limits,
		    struct vio_drv_mem *mem)
{
	int err;

	memset(con, 0, sizeof(*con));
	err = vio_drv_begin(&con->drv, bus, bus_ctx, wanted);
	if (!err)
		err = vio_condrv_refresh(con);
	if (!err)
		err = vio_drv_queue(&con->drv, RXQ, &con->rx, limits, mem);
	if (!err)
		err = vio_drv_queue(&con->drv, TXQ, &con->tx, limits, mem);
	if (!err)
		err = offer_all(con, &mem->shared);
	if (!err)
		err = vio_drv_ready(&con->drv);
	if (!err)
		vio_drv_kick(&con->drv, RXQ, &con->rx);
	return err;
}

size_t vio_condrv_read(struct vio_condrv *con, void *dst, size_t len)
{
	unsigned char *out = dst;
	size_t got = 0, n;

	while (got < len) {
		struct vio_condrv_buf *b = con->reading;

		if (!b) {
			uint32_t used;

			b = vio_vq_get(&con->rx, &used);
			if (!b)
				break;
			b->len = used;
			b->pos = 0;
			con->reading = b;
		}
		n = b->len - b->pos < len - got ? b->len - b->pos : len - got;
		vio_copy_in(out + got, b->data + b->pos, n);
		got += n;
		b->pos += (uint32_t)n;
		if (b->pos < b->len)
			break;
		con->reading = NULL;
		offer(con, b);
	}
	vio_drv_kick(&con->drv, RXQ, &con->rx);
	return got;
}

int vio_condrv_send(struct vio_condrv *con, const void *src, size_t len,
		    void *token)
{
	/* Never written: the device gets it as readable. */
	struct vio_seg seg = { (void *)(uintptr_t)src, len };
	int err;

	/* console.driver.device-operation.2: readable only */
	err = vio_vq_add(&con->tx, &seg, 1, 0, token);
	if (!err)
		vio_drv_kick(&con->drv, TXQ, &con->tx);
	return err;
}

void *vio_condrv_sent(struct vio_condrv *con)
{
	uint32_t len;

	return vio_vq_get(&con->tx, &len);
}

int vio_condrv_print(struct vio_condrv *con, const void *src, size_t len)
{
	uint32_t used;
	int err;

	err = vio_condrv_send(con, src, len, con);
	if (err)
		return err;
	if (vio_drv_wait_used(&con->drv, TXQ, &con->tx, &used) != con)
		return VIO_E_IO;
	return VIO_OK;
}

int vio_condrv_emergency(struct vio_condrv *con, unsigned char byte)
{
	vio_le32 word = vio_drv_to32(&con->drv, byte);

	if (!vio_drv_has(&con->drv, VIRTIO_CONSOLE_F_EMERG_WRITE))
		return VIO_E_UNSUPP;
	return vio_drv_config_write(&con->drv,
			offsetof(struct virtio_console_config, emerg_wr),
			&word, sizeof(word));
}
