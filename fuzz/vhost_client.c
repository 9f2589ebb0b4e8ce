/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the front end's side of vhost-user and the block driver on it,
 * against a back end that says anything. The input is all that the back end
 * ever sends; then it hangs up, so that nobody waits.
 */
#define _GNU_SOURCE
#include <vireo/driver_blk.h>
#include <vireo/vhu_client.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define WINDOW	65536u
#define RINGS	32768u
#define INPUT	32768u	/* fits a socket's buffer */

static unsigned char *window(int *fd)
{
	static unsigned char *p;
	static int memfd = -1;

	if (!p) {
		memfd = memfd_create("fuzz", MFD_CLOEXEC);
		if (memfd < 0 || ftruncate(memfd, WINDOW) < 0)
			abort();
		p = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED,
			 memfd, 0);
		if (p == MAP_FAILED)
			abort();
	}
	*fd = memfd;
	return p;
}

static void mark(void *ctx, vio_addr page)
{
	(void)ctx;
	(void)page;
}

/* What a hypervisor does with a back end beside driving it. */
static void manage(struct vhu_client *client)
{
	static const uint8_t uuid[16] = "an object's name";
	struct vio_window more = { .addr = vio_addr_of(0x100000),
				   .size = 4096 };
	int memfd, fd;
	uint16_t avail;
	size_t len;
	void *state;

	more.host = window(&memfd);
	vhu_client_add_memory(client, &more, memfd, 0);
	vhu_client_log_start(client);
	vhu_client_log_take(client, mark, NULL);
	if (!vhu_client_object(client, uuid, &fd))
		close(fd);
	vhu_client_set_mtu(client, 1500);
	vhu_client_send_rarp(client, uuid);
	vhu_client_invalidate(client, 0x10000, 4096);
	vhu_client_leave_queue(client, 0, &avail);
	vhu_client_stop_queue(client, 0, &avail);
	if (!vhu_client_save(client, &state, &len, 65536))
		free(state);
	vhu_client_load(client, uuid, sizeof(uuid));
	vhu_client_log_stop(client);
	vhu_client_remove_memory(client, more.addr);
}

/* As a user of the driver would: start it, read a sector, reset. */
static void drive(struct vhu_client *client, struct vio_drv_mem *mem)
{
	const struct vio_vq_limits limits = { .size = 8, .indirect_max = 4 };
	struct vio_features wanted = vio_blkdrv_features();
	struct vio_seg seg = { mem->window.host + RINGS, 512 };
	struct vio_blkdrv_req req = {
		.type = VIRTIO_BLK_T_IN, .seg = &seg, .nr_seg = 1,
	};
	static struct vio_blkdrv blk;

	if (vio_blkdrv_init(&blk, &vhu_client_bus, client, &wanted, &limits,
			    2, mem) != VIO_OK)
		return;
	if (blk.nr_queues > vhu_client_queues(client))
		abort();
	if (vio_blkdrv_sync(&blk, 0, &req) == VIO_OK)
		abort();	/* nobody is there to do it */
	vio_blkdrv_reset(&blk, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char priv[RINGS];
	struct vhu_client_conf conf = {
		/* All that is ever said is there already. */
		.timeout_ms = 2, .shmem_max = 1u << 20, .iommu = true,
		.map_notifiers = true, .serve_events = true,
	};
	struct vhu_client *client;
	struct vio_drv_mem mem = { 0 };
	int pair[2];

	if (size > INPUT)
		return 0;
	signal(SIGPIPE, SIG_IGN);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	if (size && write(pair[1], data, size) != (ssize_t)size)
		abort();
	shutdown(pair[1], SHUT_WR);
	mem.window.host = window(&conf.mem_fd);
	mem.window.addr = vio_addr_of(0x10000);
	mem.window.size = WINDOW;
	mem.shared.at = mem.window.host;
	mem.shared.left = RINGS;
	mem.priv.at = priv;
	mem.priv.left = sizeof(priv);
	conf.window = mem.window;
	conf.socket_fd = pair[0];
	if (vhu_client_open(&client, &conf) == 0) {
		drive(client, &mem);
		manage(client);
		vhu_client_close(client);
	}
	close(pair[1]);
	return 0;
}
