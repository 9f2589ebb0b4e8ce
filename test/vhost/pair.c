/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "pair.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* The back end's world: its connection and its queues. */
static void *serve(void *arg)
{
	struct pair *p = arg;
	struct fe *f = &p->f;
	struct pollfd fds[2 + FE_QUEUES];

	for (;;) {
		fds[0] = (struct pollfd){ .fd = p->stop, .events = POLLIN };
		fds[1] = (struct pollfd){
			.fd = f->ended ? -1 : vhu_server_fd(f->s),
			.events = POLLIN,
		};
		for (unsigned q = 0; q < FE_QUEUES; q++)
			fds[2 + q] = (struct pollfd){
				.fd = f->q[q].is_watched ?
					f->q[q].watched : -1,
				.events = POLLIN,
			};
		poll(fds, 2 + FE_QUEUES, -1);
		if (fds[0].revents)
			return NULL;
		fe_step(f);
	}
}

void pair_open(struct pair *p, const struct vhu_conf *wishes)
{
	memset(p, 0, sizeof(*p));
	fe_open_with(&p->f, wishes);
	p->conf.mem_fd = memfd_create("pair", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(p->conf.mem_fd, PAIR_WINDOW), 0);
	p->mem.window.host = mmap(NULL, PAIR_WINDOW, PROT_READ | PROT_WRITE,
				  MAP_SHARED, p->conf.mem_fd, 0);
	CHECK(p->mem.window.host != MAP_FAILED);
	p->mem.window.addr = vio_addr_of(PAIR_GUEST);
	p->mem.window.size = PAIR_WINDOW;
	p->data = p->mem.window.host + PAIR_RINGS;
	p->priv = malloc(PAIR_RINGS);
	p->conf.window = p->mem.window;
	p->conf.timeout_ms = 60000;
	p->conf.serve_events = true;
	p->stop = eventfd(0, EFD_CLOEXEC);
	CHECK_EQ(pthread_create(&p->thread, NULL, serve, p), 0);
}

int pair_connect(struct pair *p)
{
	p->conf.socket_fd = dup(p->f.sock);
	return vhu_client_open(&p->c, &p->conf);
}

struct asker {
	int (*fn)(void *arg);
	void *arg;
	int result;
	bool done;
};

static void *run(void *arg)
{
	struct asker *a = arg;

	a->result = a->fn(a->arg);
	__atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
	return NULL;
}

int pair_ask(struct pair *p, int (*fn)(void *arg), void *arg)
{
	struct asker a = { .fn = fn, .arg = arg };
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, run, &a), 0);
	while (!__atomic_load_n(&a.done, __ATOMIC_ACQUIRE)) {
		struct pollfd e = {
			.fd = vhu_client_event_fd(p->c), .events = POLLIN,
		};

		if (poll(&e, 1, 1) == 1)
			CHECK_GE(vhu_client_events(p->c), 0);
	}
	CHECK_EQ(pthread_join(thread, NULL), 0);
	return a.result;
}

void pair_drive(struct pair *p, uint64_t features)
{
	static const struct vio_vq_limits limits = {
		.size = 16, .indirect_max = 4,
	};
	struct vio_features wanted = { { features, 0 } };

	p->mem.shared.at = p->mem.window.host;
	p->mem.shared.left = PAIR_RINGS;
	p->mem.priv.at = p->priv;
	p->mem.priv.left = PAIR_RINGS;
	vio_feature_set(&wanted, VIRTIO_F_VERSION_1);
	CHECK_EQ(vio_drv_begin(&p->drv, &vhu_client_bus, p->c, &wanted),
		 VIO_OK);
	CHECK_EQ(vio_drv_queue(&p->drv, 0, &p->vq, &limits, &p->mem), VIO_OK);
	CHECK_EQ(vio_drv_ready(&p->drv), VIO_OK);
}

void pair_exchange(struct pair *p)
{
	struct vio_seg seg = { p->data, 64 };
	uint32_t len;

	memset(p->data, 0, 64);
	CHECK_EQ(vio_vq_add(&p->vq, &seg, 0, 1, p), VIO_OK);
	CHECK(vio_drv_wait_used(&p->drv, 0, &p->vq, &len) == p);
	CHECK_EQ(len, sizeof(FE_ANSWER));
	CHECK_MEMEQ(p->data, FE_ANSWER, sizeof(FE_ANSWER));
}

void pair_close(struct pair *p)
{
	uint64_t one = 1;

	vhu_client_close(p->c);
	CHECK_EQ(write(p->stop, &one, sizeof(one)), 8);
	CHECK_EQ(pthread_join(p->thread, NULL), 0);
	close(p->stop);
	munmap(p->mem.window.host, PAIR_WINDOW);
	close(p->conf.mem_fd);
	free(p->priv);
	fe_close(&p->f);
}
