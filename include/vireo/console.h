/* SPDX-License-Identifier: MIT */
/*
 * vireo/console.h - the console device (standard: 5.3), one port, and the
 * door to the terminal behind it.
 */
#ifndef VIREO_CONSOLE_H
#define VIREO_CONSOLE_H

#include <vireo/dev.h>
#include <vireo/spec/console.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The host's end. Both methods never block, and come on the queues' thread. */
struct vio_console_backend_ops {
	/*
	 * The guest printed. Returns how many bytes were taken, 0 to @len.
	 * After a short answer, call vio_console_writable() when there is
	 * room again; the guest's buffer is kept until then, nothing is lost.
	 */
	size_t (*write)(void *backend, const void *src, size_t len);
	/*
	 * Input for the guest, at most @len bytes. Returns how many, 0 if
	 * there is none: call vio_console_readable() when there is.
	 */
	size_t (*read)(void *backend, void *dst, size_t len);
	/* The guest used the emergency write register. Control thread. */
	void (*emergency)(void *backend, unsigned char byte);
};

struct vio_console_conf {
	uint16_t cols, rows;	/* SIZE is offered if both are not 0 */
};

enum {
	VIO_CONSOLE_RXQ = 0,
	VIO_CONSOLE_TXQ = 1,
	VIO_CONSOLE_QUEUES = 2,
};

struct vio_console_stats {
	uint64_t bytes_in;	/* to the guest */
	uint64_t bytes_out;	/* from the guest */
};

struct vio_console {
	struct vio_dev dev;
	struct virtio_console_config config;
	const struct vio_console_backend_ops *backend;
	void *backend_ctx;
	struct vio_req *tx;	/* a guest's buffer that is half printed */
	uint32_t tx_pos;	/* bytes of it that are out; survives a stop */
	struct vio_console_stats stats;
};

/* Context that each request needs, for vio_queue_limits. */
extern const uint16_t vio_console_ctx_size;

/* Both queues are the caller's, initialised, and run on one thread. */
int vio_console_init(struct vio_console *con,
		     const struct vio_console_conf *conf,
		     struct vio_queue *queue,
		     const struct vio_console_backend_ops *backend,
		     void *backend_ctx);

/* The terminal has input / has room again. Any thread. */
void vio_console_readable(struct vio_console *con);
void vio_console_writable(struct vio_console *con);

/* The terminal's size changed; the driver is told. Control thread. */
void vio_console_resize(struct vio_console *con, uint16_t cols,
			uint16_t rows);

#ifdef __cplusplus
}
#endif
#endif
