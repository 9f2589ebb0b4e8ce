/* SPDX-License-Identifier: MIT */
/*
 * Queues on threads of their own while the front end changes everything that
 * may be changed under them. Worth most under ThreadSanitizer.
 */
#define _GNU_SOURCE	/* memfd_create */
#include "fe.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#define MODERN		(1ull << VIRTIO_F_VERSION_1)
#define PROTOCOL	(1ull << VHOST_USER_F_PROTOCOL_FEATURES)
#define PF		(VHU_PF(MQ) | VHU_PF(REPLY_ACK) | VHU_PF(STATUS) | \
			 VHU_PF(CONFIGURE_MEM_SLOTS) | VHU_PF(LOG_SHMFD))
#define PAGE		4096ull

struct worker {
	pthread_t thread;
	unsigned q;
	int wake;		/* eventfd */
	int kick;		/* -1: not watched */
	bool stop;
	pthread_mutex_t lock;
	pthread_cond_t done;
	void (*fn)(void *arg);	/* NULL: nothing to run */
	void *arg;
};

static struct fe f;
static struct worker worker[FE_QUEUES];
static pthread_t control;
static int log_fd;
static uint64_t platform;	/* ACCESS_PLATFORM, behind an IOMMU */
static struct vhu_sock back;	/* and what is missed there */
static unsigned misses;

static void ring_bell(struct worker *w)
{
	uint64_t one = 1;

	CHECK_EQ(write(w->wake, &one, 8), 8);
}

static bool run_call(struct worker *w)
{
	void (*fn)(void *arg);
	bool stop;

	pthread_mutex_lock(&w->lock);
	fn = w->fn;
	stop = w->stop;
	pthread_mutex_unlock(&w->lock);
	if (fn) {
		fn(w->arg);
		pthread_mutex_lock(&w->lock);
		w->fn = NULL;
		pthread_cond_signal(&w->done);
		pthread_mutex_unlock(&w->lock);
	}
	return !stop;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	bool more = false;
	uint64_t n;

	while (run_call(w)) {
		struct pollfd p[2] = {
			{ .fd = w->wake, .events = POLLIN },
			{ .fd = w->kick, .events = POLLIN },
		};

		if (poll(p, 2, more ? 0 : -1) < 0)
			break;
		if (p[0].revents && read(w->wake, &n, 8) != 8)
			break;
		if (!run_call(w))
			break;
		if (p[1].revents && w->kick >= 0)
			vhu_queue_kicked(f.s, w->q);
		more = vhu_queue_service(f.s, w->q, 2) == VIO_SERVICE_MORE;
	}
	return NULL;
}

static void run_on_queue(void *env, unsigned q, void (*fn)(void *arg),
			 void *arg)
{
	struct worker *w = &worker[q];

	(void)env;
	if (w->stop) {		/* the thread has ended */
		fn(arg);
		return;
	}
	pthread_mutex_lock(&w->lock);
	w->fn = fn;
	w->arg = arg;
	ring_bell(w);
	while (w->fn)
		pthread_cond_wait(&w->done, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static int watch_kick(void *env, unsigned q, int fd)
{
	(void)env;
	CHECK(worker[q].stop ||
	      pthread_equal(pthread_self(), worker[q].thread));
	worker[q].kick = fd;
	return 0;
}

static void unwatch_kick(void *env, unsigned q)
{
	watch_kick(env, q, -1);
}

static void queue_wake(void *env, unsigned q)
{
	(void)env;
	ring_bell(&worker[q]);
}

static const struct vhu_env_ops env_ops = {
	.run_on_queue = run_on_queue,
	.watch_kick = watch_kick,
	.unwatch_kick = unwatch_kick,
	.queue_wake = queue_wake,
};

static void *serve(void *arg)
{
	int r = 0;

	(void)arg;
	while (!r) {
		vhu_sock_wait(vhu_server_fd(f.s), -1);
		r = vhu_server_readable(f.s);
	}
	f.ended = r;
	return NULL;
}

static void start(void)
{
	for (unsigned q = 0; q < FE_QUEUES; q++) {
		struct worker *w = &worker[q];

		*w = (struct worker){ .q = q, .kick = -1 };
		w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		pthread_mutex_init(&w->lock, NULL);
		pthread_cond_init(&w->done, NULL);
	}
	fe_open_with(&f, &(struct vhu_conf){ .env = &env_ops,
					     .iommu = platform });
	f.threaded = true;
	for (unsigned q = 0; q < FE_QUEUES; q++)
		CHECK_EQ(pthread_create(&worker[q].thread, NULL, work,
					&worker[q]), 0);
	CHECK_EQ(pthread_create(&control, NULL, serve, NULL), 0);
}

/* The front end hangs up, the session ends, then the queues' threads do. */
static void finish(void)
{
	shutdown(f.sock, SHUT_RDWR);
	pthread_join(control, NULL);
	CHECK_EQ(f.ended, -ENOTCONN);
	vhu_server_detach(f.s);
	for (unsigned q = 0; q < FE_QUEUES; q++) {
		struct worker *w = &worker[q];

		pthread_mutex_lock(&w->lock);
		w->stop = true;
		pthread_mutex_unlock(&w->lock);
		ring_bell(w);
		pthread_join(w->thread, NULL);
		close(w->wake);
	}
}

static void set_ring(unsigned q)
{
	struct vhu_vring_state st = { q, 1 };

	fe_send_ring(&f, q);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_VRING_ENABLE, &st, 8, NULL, 0), 0);
}

static void stop_ring(unsigned q)
{
	fe_send_state(&f, VHOST_USER_GET_VRING_BASE, q, 0);
	fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
}

/* A log that is new, half of the times too short; or none any more. */
static void log_dirty(struct vtest_rand *r)
{
	struct vhu_log_area a = { FE_GUEST / 4096 / 8 + 8, 0 };
	uint64_t features = MODERN | PROTOCOL | platform;

	if (vtest_below(r, 2)) {
		features |= 1ull << VHOST_F_LOG_ALL;
		a.size += vtest_below(r, 2) * FE_MEM / 4096 / 8;
		fe_send(&f, VHOST_USER_SET_LOG_BASE, 0, &a, sizeof(a),
			&log_fd, 1);
		fe_expect(&f, VHOST_USER_SET_LOG_BASE, 8);
	}
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_FEATURES, &features, 8, NULL, 0),
		 0);
}

/* The IOMMU maps the ring's addresses and the buffers' to the same memory. */
static void send_iotlb(uint8_t type, uint64_t io)
{
	uint64_t at = io >= FE_USER ? io - FE_USER : io - FE_GUEST;
	struct vhu_iotlb m = {
		.iova = io & ~(PAGE - 1), .size = PAGE, .type = type,
		.user_addr = FE_USER + (at & ~(PAGE - 1)), .perm = 3,
	};

	fe_send(&f, VHOST_USER_IOTLB_MSG, 0, &m, sizeof(m), NULL, 0);
	fe_expect(&f, VHOST_USER_IOTLB_MSG, 8);
	CHECK_EQ(f.in.in.p.u64, 0);
}

static void tell_missed(void)
{
	while (platform && vhu_sock_recv(&back) == 1) {
		CHECK_EQ(back.in.p.iotlb.type, VHU_IOTLB_MISS);
		send_iotlb(VHU_IOTLB_UPDATE, back.in.p.iotlb.iova);
		misses++;
	}
}

static void take_away(struct vtest_rand *r)
{
	uint64_t page = vtest_below(r, 4 * FE_QUEUES) * PAGE;

	if (platform)
		send_iotlb(VHU_IOTLB_INVALIDATE, page +
			   (vtest_below(r, 4) ? FE_GUEST : FE_USER));
}

static void connect_back(void)
{
	int sv[2];

	if (!platform)
		return;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	fe_send_fd(&f, VHOST_USER_SET_BACKEND_REQ_FD, 0, sv[1]);
	close(sv[1]);
	vhu_sock_init(&back, sv[0]);
}

/* One of the things that a front end does to a running device. */
static void disturb(struct vtest_rand *r, unsigned *extra)
{
	unsigned q = vtest_below(r, FE_QUEUES);
	struct vhu_mem_reg reg = {
		0, { FE_GUEST + FE_MEM + *extra * PAGE, PAGE,
		     FE_USER + FE_MEM + *extra * PAGE, 0 },
	};
	struct vhu_vring_state st = { q, 0 };

	switch (vtest_below(r, 10)) {
	case 0:
		if (fe_ask(&f, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg),
			   &f.memfd, 1) == 0)
			++*extra;
		break;
	case 1:
		fe_send_memory(&f);
		*extra = 0;
		break;
	case 2:
		fe_send_call_fd(&f, q);
		break;
	case 3:
		fe_send_kick_fd(&f, q);
		break;
	case 4:
		CHECK_EQ(fe_ask(&f, VHOST_USER_SET_VRING_ENABLE, &st, 8, NULL,
				0), 0);
		st.num = 1;
		CHECK_EQ(fe_ask(&f, VHOST_USER_SET_VRING_ENABLE, &st, 8, NULL,
				0), 0);
		break;
	case 5:
		stop_ring(q);
		fe_used(&f, q);
		CHECK_EQ(f.in.in.p.state.num, f.q[q].used_seen);
		set_ring(q);
		break;
	case 6:
		fe_get_u64(&f, VHOST_USER_GET_STATUS);
		break;
	case 7:
		log_dirty(r);
		break;
	case 8:
		if (!*extra)
			break;
		--*extra;
		reg.region.guest_addr -= PAGE;
		reg.region.user_addr -= PAGE;
		CHECK_EQ(fe_ask(&f, VHOST_USER_REM_MEM_REG, &reg, sizeof(reg),
				NULL, 0), 0);
		break;
	case 9:
		take_away(r);
		break;
	}
}

static void change_everything(int rounds)
{
	struct vtest_rand r = vtest_rand_init(vtest_seed());
	uint64_t one = 1;
	unsigned extra = 0;

	log_fd = memfd_create("log", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(log_fd, FE_GUEST / 4096 / 8 + 4096), 0);
	start();
	fe_negotiate(&f, PF | VHU_PF(BACKEND_REQ),
		     MODERN | PROTOCOL | platform);
	connect_back();
	fe_send_memory(&f);
	for (unsigned q = 0; q < FE_QUEUES; q++)
		set_ring(q);
	for (int round = 0; round < rounds; round++) {
		for (unsigned q = 0; q < FE_QUEUES; q++) {
			fe_used(&f, q);
			while ((uint16_t)(f.q[q].avail_idx -
					  f.q[q].used_seen) < FE_RING)
				fe_offer(&f, q);
			CHECK_EQ(write(f.q[q].kick_fd, &one, 8), 8);
		}
		tell_missed();
		disturb(&r, &extra);
	}
	/* All that was offered comes back, without another kick. */
	for (unsigned q = 0; q < FE_QUEUES; q++) {
		for (int ms = 0; ms < 60000 &&
		     f.q[q].used_seen != f.q[q].avail_idx; ms++) {
			tell_missed();
			fe_used(&f, q);
			usleep(1000);
		}
		CHECK_EQ(f.q[q].used_seen, f.q[q].avail_idx);
	}
	finish();
	fe_close(&f);
	close(log_fd);
	if (platform)
		vhu_sock_fini(&back);
}

TEST("vhost threads: nothing gets lost while everything changes", "")
{
	platform = 0;
	change_everything(3000);
}

TEST("vhost threads: nor while pages are taken away behind an IOMMU", "")
{
	platform = 1ull << VIRTIO_F_ACCESS_PLATFORM;
	misses = 0;
	change_everything(2000);
	CHECK_GT(misses, 50);
}
