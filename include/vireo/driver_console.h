/* SPDX-License-Identifier: MIT */
/*
 * vireo/driver_console.h - the console device's driver (standard: 5.3), one
 * port.
 */
#ifndef VIREO_DRIVER_CONSOLE_H
#define VIREO_DRIVER_CONSOLE_H

#include <vireo/driver.h>
#include <vireo/spec/console.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIO_CONDRV_BUFS		16	/* for input, at most */
#define VIO_CONDRV_BUF_LEN	256	/* bytes of each */

struct vio_condrv_buf {
	unsigned char *data;	/* in the window */
	uint32_t len;		/* bytes of input in it */
	uint32_t pos;		/* bytes given to the caller */
};

struct vio_condrv {
	struct vio_drv drv;
	struct vio_vq rx, tx;
	struct vio_condrv_buf buf[VIO_CONDRV_BUFS];
	struct vio_condrv_buf *reading;	/* has input left, or NULL */
	uint16_t cols, rows;		/* 0 where the device does not say */
};

size_t vio_condrv_shared_size(const struct vio_vq_limits *limits);

int vio_condrv_init(struct vio_condrv *con, const struct vio_bus_ops *bus,
		    void *bus_ctx, const struct vio_features *wanted,
		    const struct vio_vq_limits *limits,
		    struct vio_drv_mem *mem);

/* Input that is there: at most @len bytes; returns how many, perhaps 0. */
size_t vio_condrv_read(struct vio_condrv *con, void *dst, size_t len);

/*
 * vio_condrv_send() - print @len bytes at @src, which lie in the window and
 * stay untouched until vio_condrv_sent() gives @token. As vio_vq_add().
 */
int vio_condrv_send(struct vio_condrv *con, const void *src, size_t len,
		    void *token);
void *vio_condrv_sent(struct vio_condrv *con);

/* As vio_condrv_send(), and waits until it is printed. */
int vio_condrv_print(struct vio_condrv *con, const void *src, size_t len);

/* The emergency write register. VIO_E_UNSUPP where there is none. */
int vio_condrv_emergency(struct vio_condrv *con, unsigned char byte);

/* Read the size again, after the configuration changed. */
int vio_condrv_refresh(struct vio_condrv *con);

#ifdef __cplusplus
}
#endif
#endif
