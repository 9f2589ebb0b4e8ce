/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "fe.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

/* -- the device: answers every request, or keeps it ----------------------- */

/* By the cursor and in place, in turns. */
static void fill(struct fe *f, struct vio_req *req)
{
	struct vio_cursor c = vio_req_writer(req);
	struct vio_seg seg;
	uint32_t len = req->write_len, got;
	unsigned char byte;

	f->filling = f->filling % 255 + 1;
	if (f->filling % 2) {
		while (vio_cursor_spans(&c, len, &seg, 1, &got))
			memset(seg.base, f->filling, seg.len);
		vio_req_wrote(req, 0, len);
	} else {
		for (byte = f->filling; c.left; )
			vio_cursor_write(&c, &byte, 1);
	}
	vio_req_done(req);
}

static void answer(struct vio_req *req)
{
	struct vio_cursor c = vio_req_writer(req);
	struct fe *f = vio_container_of(req->queue->dev, struct fe, dev);

	if (f->fill) {
		fill(f, req);
		return;
	}

	vio_cursor_write(&c, FE_ANSWER, sizeof(FE_ANSWER));
	vio_req_done(req);
}

static enum vio_service dev_service(struct vio_dev *dev, struct vio_queue *q,
				    unsigned budget)
{
	struct fe *f = vio_container_of(dev, struct fe, dev);

	while (budget--) {
		struct vio_req *req = vio_queue_pop(q);

		if (!req)
			return VIO_SERVICE_IDLE;
		if (f->hold)
			f->held[f->nr_held++] = req;
		else
			answer(req);
	}
	return VIO_SERVICE_MORE;
}

/* What it keeps is not begun. */
static void dev_queue_stop(struct vio_dev *dev, struct vio_queue *q)
{
	struct fe *f = vio_container_of(dev, struct fe, dev);
	unsigned n = 0;

	if (!q->leaves)
		return;
	for (unsigned i = 0; i < f->nr_held; i++) {
		if (f->held[i]->queue == q)
			vio_req_leave(f->held[i]);
		else
			f->held[n++] = f->held[i];
	}
	f->nr_held = n;
}

static void dev_reset(struct vio_dev *dev)
{
	vio_container_of(dev, struct fe, dev)->resets++;
}

static int dev_config_write(struct vio_dev *dev, uint32_t off,
			    const void *src, uint32_t len)
{
	if (off > 8 || len > 8 - off)
		return VIO_E_PEER;
	memcpy(dev->config + off, src, len);
	return VIO_OK;
}

static int dev_check(struct vio_dev *dev, const struct vio_features *feat)
{
	(void)feat;
	return vio_container_of(dev, struct fe, dev)->dispute ? VIO_E_PEER :
								VIO_OK;
}

static const struct vio_dev_ops dev_ops = {
	.name = "test",
	.id = 2,
	.service = dev_service,
	.queue_stop = dev_queue_stop,
	.reset = dev_reset,
	.config_write = dev_config_write,
	.check_features = dev_check,
};

void fe_release(struct fe *f)
{
	for (unsigned i = 0; i < f->nr_held; i++)
		answer(f->held[i]);
	f->nr_held = 0;
}

static void dev_open(struct fe *f)
{
	static const struct vio_queue_limits limits = { 256, 8, 0 };
	struct vio_features offered = { { 0, 0 } };

	vio_feature_set(&offered, VIRTIO_F_RING_PACKED);
	for (unsigned i = 0; i < FE_QUEUES; i++) {
		size_t len = vio_queue_storage_size(&limits);

		f->storage[i] = aligned_alloc(64, (len + 63) / 64 * 64);
		CHECK_EQ(vio_queue_init(&f->queue[i], &f->dev, i, &limits,
					f->storage[i], len), VIO_OK);
	}
	for (unsigned i = 0; i < sizeof(f->config); i++)
		f->config[i] = i + 1;
	vio_dev_init(&f->dev, &dev_ops, &offered, f->queue, FE_QUEUES,
		     f->config, sizeof(f->config));
}

/* -- what the back end asks for -------------------------------------------- */

static int env_watch(void *env, unsigned q, int fd)
{
	struct fe *f = env;

	CHECK(!f->q[q].is_watched);
	f->q[q].is_watched = true;
	f->q[q].watched = fd;
	return 0;
}

static void env_unwatch(void *env, unsigned q)
{
	struct fe *f = env;

	CHECK(f->q[q].is_watched);
	f->q[q].is_watched = false;
}

static int env_drain(void *env, unsigned q)
{
	struct fe *f = env;

	(void)q;
	f->drains++;
	fe_release(f);
	return 0;
}

static void env_wake(void *env, unsigned q)
{
	struct fe *f = env;

	f->q[q].woken = true;
}

static void env_guard(void *env, void *ptr, size_t len, bool add)
{
	struct fe *f = env;

	CHECK(ptr != NULL && len > 0);
	f->guarded += add ? 1 : -1;
}

/* Mapped when it comes, and still mapped when it goes. */
static void env_memory(void *env, void *ptr, size_t len, bool huge, bool add)
{
	struct fe *f = env;
	unsigned char vec[1];

	CHECK(len > 0);
	CHECK_EQ(mincore(ptr, 1, vec), 0);
	(void)huge;
	f->told += add ? 1 : -1;
	CHECK_LE(f->told, f->guarded);
}

static void env_later(void *env)
{
	struct fe *f = env;

	f->config_laters++;
}

static const struct vhu_env_ops env_ops = {
	.watch_kick = env_watch,
	.unwatch_kick = env_unwatch,
	.drain = env_drain,
	.queue_wake = env_wake,
	.map_guard = env_guard,
	.memory = env_memory,
	.config_later = env_later,
};

const struct vhu_env_ops *fe_env(void)
{
	return &env_ops;
}

static void keep_log(void *ctx, enum vio_log_level level, const char *text,
		     const struct vio_named *v, unsigned nr)
{
	struct fe *f = ctx;

	for (unsigned i = 0; i < nr; i++)
		CHECK(v[i].name != NULL);
	if (level != VIO_LOG_ERROR)
		return;
	f->logs++;
	snprintf(f->log, sizeof(f->log), "%s", text);
}

/* -- life ------------------------------------------------------------------ */

static void connect_it(struct fe *f)
{
	int sv[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	CHECK_EQ(vhu_server_attach(f->s, sv[0]), 0);
	CHECK_EQ(vhu_server_fd(f->s), sv[0]);
	f->sock = sv[1];
	vhu_sock_init(&f->in, sv[1]);
	f->ended = 0;
	f->log[0] = '\0';
	f->logs = 0;
	memset(f->mem, 0, FE_MEM);
	for (unsigned i = 0; i < FE_QUEUES; i++) {
		f->q[i] = (struct fe_queue){ .watched = -1 };
		f->q[i].kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		f->q[i].call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
}

void fe_open_with(struct fe *f, const struct vhu_conf *wishes)
{
	struct vhu_conf conf = *wishes;

	memset(f, 0, sizeof(*f));
	conf.dev = &f->dev;
	if (!conf.env)
		conf.env = &env_ops;
	conf.env_ctx = f;
	conf.log = (struct vio_log){ keep_log, f };
	signal(SIGPIPE, SIG_IGN);
	dev_open(f);
	f->memfd = memfd_create("guest", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(f->memfd, FE_MEM), 0);
	f->mem = mmap(NULL, FE_MEM, PROT_READ | PROT_WRITE, MAP_SHARED,
		      f->memfd, 0);
	CHECK_EQ(vhu_server_create(&f->s, &conf), 0);
	connect_it(f);
}

void fe_open_in(struct fe *f, const struct vhu_env_ops *env)
{
	fe_open_with(f, &(struct vhu_conf){ .env = env });
}

void fe_open(struct fe *f)
{
	fe_open_in(f, &env_ops);
}

static void disconnect(struct fe *f)
{
	vhu_sock_fini(&f->in);
	vhu_server_detach(f->s);
	CHECK_EQ(vhu_server_fd(f->s), -1);
	CHECK_EQ(f->guarded, 0);
	CHECK_EQ(f->told, 0);
	for (unsigned i = 0; i < FE_QUEUES; i++) {
		CHECK(!f->q[i].is_watched);
		close(f->q[i].kick_fd);
		close(f->q[i].call_fd);
	}
}

void fe_reopen(struct fe *f)
{
	disconnect(f);
	connect_it(f);
}

void fe_close(struct fe *f)
{
	disconnect(f);
	vhu_server_destroy(f->s);
	munmap(f->mem, FE_MEM);
	close(f->memfd);
	for (unsigned i = 0; i < FE_QUEUES; i++)
		free(f->storage[i]);
}

static bool step_queue(struct fe *f, unsigned q)
{
	struct fe_queue *fq = &f->q[q];
	bool work = fq->woken;

	fq->woken = false;
	if (fq->is_watched && fq->watched >= 0) {
		struct pollfd p = { .fd = fq->watched, .events = POLLIN };

		if (poll(&p, 1, 0) == 1) {
			work = true;
			if (!vhu_queue_kicked(f->s, q))
				fq->watched = -1;
		}
	} else if (fq->is_watched) {
		struct vio_queue *vq = vhu_queue_live(f->s, q);

		work |= vq && vio_queue_pending(vq);
	}
	if (work)
		vhu_queue_service(f->s, q, 8);
	return work;
}

void fe_step(struct fe *f)
{
	bool work = !f->threaded;

	for (int i = 0; work && i < 1000; i++) {
		work = false;
		if (!f->ended && vhu_sock_wait(vhu_server_fd(f->s), 0) == 1) {
			f->ended = vhu_server_readable(f->s);
			work = true;
		}
		for (unsigned q = 0; q < FE_QUEUES; q++)
			work |= step_queue(f, q);
	}
	CHECK(!work || f->busy);
}

/* -- messages -------------------------------------------------------------- */

void fe_send(struct fe *f, uint32_t request, uint32_t flags,
	     const void *payload, uint32_t size, const int *fd, unsigned nr)
{
	static struct vhu_msg msg;

	vhu_msg_init(&msg, request, flags, size);
	if (size)
		memcpy(&msg.p, payload, size);
	for (unsigned i = 0; i < nr; i++)
		msg.fd[i] = fd[i];
	msg.nr_fds = nr;
	CHECK_EQ(vhu_sock_send(f->sock, &msg, 1000), 0);
	fe_step(f);
}

void fe_send_u64(struct fe *f, uint32_t request, uint64_t v)
{
	fe_send(f, request, 0, &v, sizeof(v), NULL, 0);
}

void fe_send_state(struct fe *f, uint32_t request, uint32_t index,
		   uint32_t num)
{
	struct vhu_vring_state st = { index, num };

	fe_send(f, request, 0, &st, sizeof(st), NULL, 0);
}

void fe_send_fd(struct fe *f, uint32_t request, uint64_t v, int fd)
{
	fe_send(f, request, 0, &v, sizeof(v), &fd, 1);
}

void fe_expect(struct fe *f, uint32_t request, uint32_t size)
{
	if (f->threaded)
		vhu_sock_wait(f->sock, 10000);
	CHECK_EQ(vhu_sock_recv(&f->in), 1);
	CHECK_EQ(f->in.in.hdr.request, request);
	CHECK_EQ(f->in.in.hdr.flags, VHU_VERSION | VHU_REPLY);
	CHECK_EQ(f->in.in.hdr.size, size);
}

void fe_expect_silence(struct fe *f)
{
	int r = vhu_sock_recv(&f->in);

	if (r)
		FAIL("a reply to %u, or %d", f->in.in.hdr.request, r);
}

uint64_t fe_get_u64(struct fe *f, uint32_t request)
{
	fe_send(f, request, 0, NULL, 0, NULL, 0);
	fe_expect(f, request, 8);
	return f->in.in.p.u64;
}

uint64_t fe_ask(struct fe *f, uint32_t request, const void *payload,
		uint32_t size, const int *fd, unsigned nr)
{
	fe_send(f, request, VHU_NEED_REPLY, payload, size, fd, nr);
	fe_expect(f, request, 8);
	return f->in.in.p.u64;
}

void fe_negotiate(struct fe *f, uint64_t protocol, uint64_t features)
{
	uint64_t offered = fe_get_u64(f, VHOST_USER_GET_FEATURES);

	CHECK_EQ(features & ~offered, 0);
	if (features & 1ull << VHOST_USER_F_PROTOCOL_FEATURES) {
		offered = fe_get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES);
		CHECK_EQ(protocol & ~offered, 0);
		fe_send_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, protocol);
	}
	fe_send(f, VHOST_USER_SET_OWNER, 0, NULL, 0, NULL, 0);
	fe_send_u64(f, VHOST_USER_SET_FEATURES, features);
	CHECK_EQ(f->ended, 0);
}

void fe_send_memory(struct fe *f)
{
	struct vhu_mem_table t = {
		.nr = 1,
		.region[0] = { FE_GUEST, FE_MEM, FE_USER, 0 },
	};

	fe_send(f, VHOST_USER_SET_MEM_TABLE, 0, &t, 8 + 32, &f->memfd, 1);
}

/* -- the ring, from the driver's side -------------------------------------- */

#define RING_AT(q)	((q) * 0x4000u)
#define AVAIL_AT(q)	(RING_AT(q) + 0x1000)
#define USED_AT(q)	(RING_AT(q) + 0x2000)
#define BUFS_AT(q)	(RING_AT(q) + 0x3000)

void fe_send_addr(struct fe *f, unsigned q)
{
	struct vhu_vring_addr a = {
		.index = q,
		.desc = FE_USER + RING_AT(q),
		.avail = FE_USER + AVAIL_AT(q),
		.used = FE_USER + USED_AT(q),
	};

	fe_send(f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
}

void fe_send_kick_fd(struct fe *f, unsigned q)
{
	fe_send_fd(f, VHOST_USER_SET_VRING_KICK, q, f->q[q].kick_fd);
}

void fe_send_call_fd(struct fe *f, unsigned q)
{
	fe_send_fd(f, VHOST_USER_SET_VRING_CALL, q, f->q[q].call_fd);
}

void fe_send_ring(struct fe *f, unsigned q)
{
	fe_send_state(f, VHOST_USER_SET_VRING_NUM, q, FE_RING);
	fe_send_state(f, VHOST_USER_SET_VRING_BASE, q, f->q[q].used_seen);
	fe_send_addr(f, q);
	fe_send_kick_fd(f, q);
	fe_send_call_fd(f, q);
}

void fe_offer(struct fe *f, unsigned q)
{
	struct virtq_desc *desc = (void *)(f->mem + RING_AT(q));
	uint16_t *avail = (void *)(f->mem + AVAIL_AT(q));
	uint16_t slot = f->q[q].avail_idx % FE_RING;

	desc[slot].addr = vio_to_le64(FE_GUEST + BUFS_AT(q) + slot * 16u);
	desc[slot].len = vio_to_le32(16);
	desc[slot].flags = vio_to_le16(VIRTQ_DESC_F_WRITE);
	memset(f->mem + BUFS_AT(q) + slot * 16u, 0, 16);
	avail[2 + slot] = slot;
	__atomic_store_n(&avail[1], ++f->q[q].avail_idx, __ATOMIC_RELEASE);
}

void fe_kick(struct fe *f, unsigned q)
{
	uint64_t one = 1;

	CHECK_EQ(write(f->q[q].kick_fd, &one, 8), 8);
	fe_step(f);
}

unsigned fe_used(struct fe *f, unsigned q)
{
	const uint16_t *used = (void *)(f->mem + USED_AT(q));
	uint16_t idx = __atomic_load_n(&used[1], __ATOMIC_ACQUIRE);
	unsigned n = 0;

	while (f->q[q].used_seen != idx) {
		unsigned slot = f->q[q].used_seen++ % FE_RING;
		const uint32_t *elem = (const void *)(used + 2 + slot * 4);

		CHECK_LT(elem[0], FE_RING);
		CHECK_EQ(elem[1], sizeof(FE_ANSWER));
		CHECK_MEMEQ(f->mem + BUFS_AT(q) + elem[0] * 16, FE_ANSWER,
			    sizeof(FE_ANSWER));
		n++;
	}
	return n;
}

unsigned fe_calls(struct fe *f, unsigned q)
{
	uint64_t n;

	return read(f->q[q].call_fd, &n, 8) == 8 ? (unsigned)n : 0;
}

int fe_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
