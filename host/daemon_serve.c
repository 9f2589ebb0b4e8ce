/* SPDX-License-Identifier: MIT */
/*
 * One front end after the other, and the queues on their threads: what the
 * vhost-user server asks of the program around it.
 */
#include "host/daemon_serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#include "host/clock.h"
#include "host/daemon_connect.h"
#include "host/daemon_keep.h"
#include "host/daemon_upgrade.h"
#include "host/guard.h"
#include "host/log.h"
#include "vhost/trace.h"

/*
 * Requests taken at a time, where the device type does not say. The driver
 * sees a batch when it is over, so a longer one leaves it idle meanwhile; a
 * shorter one costs notifications.
 */
#define SERVE_BUDGET 16u
/* A ring whose driver cannot kick is looked at this often, at least. */
#define SERVE_UNKICKED_NS (1 * NS_PER_MS)
/* Between repetitions of a message that a front end may miss. */
#define SERVE_CONFIG_NS (30 * NS_PER_MS)

static const struct daemon_feature ring_features[] = {
	{ VIRTIO_F_INDIRECT_DESC, "VIRTIO_F_INDIRECT_DESC" },
	{ VIRTIO_F_EVENT_IDX, "VIRTIO_F_EVENT_IDX" },
	{ VIRTIO_F_VERSION_1, "VIRTIO_F_VERSION_1" },
	{ VIRTIO_F_ACCESS_PLATFORM, "VIRTIO_F_ACCESS_PLATFORM" },
	{ VIRTIO_F_RING_PACKED, "VIRTIO_F_RING_PACKED" },
	{ VIRTIO_F_IN_ORDER, "VIRTIO_F_IN_ORDER" },
	{ VIRTIO_F_ORDER_PLATFORM, "VIRTIO_F_ORDER_PLATFORM" },
	{ VIRTIO_F_NOTIFICATION_DATA, "VIRTIO_F_NOTIFICATION_DATA" },
	{ VIRTIO_F_RING_RESET, "VIRTIO_F_RING_RESET" },
	{ 0, NULL },
};

/* -- queues, each on its thread ------------------------------------------ */

static unsigned budget(const struct daemon_queue *q)
{
	unsigned n = q->daemon->type->budget;

	return n ? n : SERVE_BUDGET;
}

/* Looks that find nothing, after which all is shown that is used: some ten
 * microseconds, if there is no other queue to look at. */
#define LOOKS_HIDDEN	1024u

/* poll-always in a section overrides a program's poll-us=0. */
static bool polls(const struct daemon *d)
{
	return d->opt.poll_us || d->opt.poll_always;
}

static struct loop *queue_loop(const struct daemon_queue *q)
{
	return &q->worker->loop;
}

/*
 * The numbers of a queue before and after it is worked at: of both probes the
 * difference says how many were popped and done.
 */
static void trace_serve(const struct vio_queue *vq)
{
	VHU_TRACE3(serve, vq->index, vq->inflight, vq->stats.requests);
}

static void trace_served(const struct vio_queue *vq)
{
	VHU_TRACE3(served, vq->index, vq->inflight, vq->stats.requests);
}

static void queue_serve(void *ctx)
{
	struct daemon_queue *q = ctx;
	struct vio_queue *vq = &q->daemon->dev->queue[q->index];
	enum vio_service r;

	vq->now_ms = clock_about_ms();
	trace_serve(vq);
	r = vhu_queue_service(q->daemon->server, q->index, budget(q));
	trace_served(vq);
	q->waiting = r == VIO_SERVICE_WAIT;
	if (r == VIO_SERVICE_MORE)
		loop_defer(queue_loop(q), &q->again);
}

static void queue_woken(void *ctx)
{
	struct daemon_queue *q = ctx;

	/* Before the service: a wake-up from now on asks for another. */
	atomic_store(&q->waking, false);
	queue_serve(q);
}

static void queue_timer(void *ctx)
{
	struct daemon_queue *q = ctx;

	queue_serve(q);
	loop_timer_set(queue_loop(q), &q->timer, SERVE_UNKICKED_NS);
}

static void kick_ignore(struct daemon_queue *q)
{
	if (q->kick.fd >= 0)
		loop_fd_del(queue_loop(q), &q->kick);
	q->kick.fd = -1;
}

static void unkicked_start(struct daemon_queue *q)
{
	q->timed = true;
	loop_timer_set(queue_loop(q), &q->timer, SERVE_UNKICKED_NS);
}

/* Of what is used, some may be hidden until there is more; not for long. */
static void found_nothing(struct daemon_queue *q, struct vio_queue *vq)
{
	if (!vio_queue_hides(vq) || ++q->looks < LOOKS_HIDDEN)
		return;
	q->looks = 0;
	vio_queue_show(vq);
}

/*
 * While the loop polls, kicks stay off: the driver saves a system call for
 * each batch.
 */
static bool queue_poll(void *ctx)
{
	struct daemon_queue *q = ctx;
	struct vio_queue *vq;

	/* Requests are there, but the device waits for its back end, and
	 * will ask to be served: looking on would never end. */
	if (q->waiting)
		return false;
	vq = vhu_queue_live(q->daemon->server, q->index);
	if (!vq)
		return false;
	if (!vio_queue_pending(vq)) {
		found_nothing(q, vq);
		return false;
	}
	vq->now_ms = clock_about_ms();
	trace_serve(vq);
	vq->polled = true;
	q->waiting = vio_queue_poll(vq, budget(q)) == VIO_SERVICE_WAIT;
	vq->polled = false;
	trace_served(vq);
	q->kicks_off = true;
	q->looks = 0;
	/* Nobody looks at it any more. */
	if (q->waiting)
		vio_queue_show(vq);
	/* Tells the front end of it. */
	if (vio_unlikely(vq->state == VIO_QUEUE_BROKEN))
		queue_serve(q);
	return true;
}

static void queue_kick(void *ctx, uint32_t events)
{
	struct daemon_queue *q = ctx;

	(void)events;
	VHU_TRACE1(kick, q->index);
	/* Read by the control thread. */
	__atomic_store_n(&q->kicks, q->kicks + 1, __ATOMIC_RELAXED);
	if (!vhu_queue_kicked(q->daemon->server, q->index)) {
		kick_ignore(q);
		unkicked_start(q);
	}
	/* A poller keeps kicks off, until it goes to sleep. */
	if (polls(q->daemon))
		queue_poll(q);
	else
		queue_serve(q);
}

static bool queue_sleep(void *ctx)
{
	struct daemon_queue *q = ctx;
	struct vio_queue *vq = vhu_queue_live(q->daemon->server, q->index);
	uint16_t before;

	if (!q->kicks_off || !vq)
		return false;
	q->kicks_off = false;
	before = vio_queue_avail_base(vq);
	/* Turns them on, and works at what came before that. */
	queue_serve(q);
	return vio_queue_avail_base(vq) != before;
}

static const struct loop_poller_ops queue_poller_ops = {
	.poll = queue_poll,
	.sleep = queue_sleep,
};

static int env_watch_kick(void *env, unsigned queue, int kick_fd)
{
	struct daemon *d = env;
	struct daemon_queue *q = &d->queues[queue];
	int rc = 0;

	q->kick.fd = kick_fd;
	q->kicks_off = false;
	q->waiting = false;
	if (kick_fd < 0)
		unkicked_start(q);
	else
		rc = loop_fd_add(queue_loop(q), &q->kick, EPOLLIN);
	if (rc) {
		q->kick.fd = -1;
		return rc;
	}
	q->watched = true;
	if (polls(d))
		loop_poller_add(queue_loop(q), &q->poller);
	if (d->opt.poll_always)
		loop_poll_always(queue_loop(q), true);
	return 0;
}

static void env_unwatch_kick(void *env, unsigned queue)
{
	struct daemon *d = env;
	struct daemon_queue *q = &d->queues[queue];

	if (!q->watched)
		return;
	q->watched = false;
	vio_queue_show(&d->dev->queue[queue]);
	kick_ignore(q);
	if (q->timed)
		loop_timer_cancel(queue_loop(q), &q->timer);
	q->timed = false;
	if (polls(d))
		loop_poller_del(queue_loop(q), &q->poller);
	if (d->opt.poll_always)
		loop_poll_always(queue_loop(q), false);
}

static void env_run_on_queue(void *env, unsigned queue,
			     void (*fn)(void *arg), void *arg)
{
	struct daemon *d = env;

	worker_run(d->queues[queue].worker, fn, arg);
}

static int env_drain(void *env, unsigned queue)
{
	struct daemon *d = env;

	if (d->type->drain)
		d->type->drain(d, queue);
	if (!d->dev->queue[queue].inflight)
		return 0;
	if (d->type->drain)
		atomic_store(&d->stuck, true);
	return -EBUSY;
}

static void env_queue_wake(void *env, unsigned queue)
{
	struct daemon *d = env;
	struct daemon_queue *q = &d->queues[queue];

	if (!atomic_exchange(&q->waking, true))
		loop_post(queue_loop(q), &q->wake);
}

static void env_watch_calls(void *env)
{
	struct daemon *d = env;

	calls_wake(&d->process->calls);
}

static void env_map_guard(void *env, void *ptr, size_t len, bool add)
{
	struct daemon *d = env;

	if (!add)
		guard_del(ptr);
	else if (guard_add(ptr, len, &d->lost, d->lost_fd.fd))
		log_warn("too many memory regions to guard: truncating this one will end the program");
}

static void env_memory(void *env, void *ptr, size_t len, bool huge, bool add)
{
	struct daemon *d = env;

	d->type->memory(d, ptr, len, huge, add);
}

static void on_config_timer(void *ctx)
{
	struct daemon *d = ctx;

	if (vhu_server_config_again(d->server))
		loop_timer_set(&d->main->loop, &d->config_timer,
			       SERVE_CONFIG_NS);
}

static void on_config_call(void *ctx)
{
	struct daemon *d = ctx;

	atomic_store(&d->config_posted, false);
	loop_timer_set(&d->main->loop, &d->config_timer, SERVE_CONFIG_NS);
}

static void env_config_later(void *env)
{
	struct daemon *d = env;

	if (!atomic_exchange(&d->config_posted, true))
		loop_post(&d->main->loop, &d->config_call);
}

static int env_set_mtu(void *env, uint16_t mtu)
{
	struct daemon *d = env;

	return d->type->set_mtu(d, mtu);
}

static int env_send_rarp(void *env, const uint8_t mac[6])
{
	struct daemon *d = env;

	return d->type->send_rarp(d, mac);
}

static int env_userfaultfd(void *env)
{
	struct daemon *d = env;
	int fd = ioctl(d->process->faults_fd, USERFAULTFD_IOC_NEW,
		       O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static const struct vhu_env_ops env_ops = {
	.run_on_queue = env_run_on_queue,
	.watch_kick = env_watch_kick,
	.unwatch_kick = env_unwatch_kick,
	.drain = env_drain,
	.queue_wake = env_queue_wake,
	.map_guard = env_map_guard,
	.watch_calls = env_watch_calls,
	.config_later = env_config_later,
};

/* -- statistics ---------------------------------------------------------- */

static unsigned name_features(const struct daemon_feature *f, uint64_t bits,
			      const char **names, unsigned n)
{
	for (; f->name && n < DAEMON_NAMES_MAX; f++)
		if (bits >> f->bit & 1)
			names[n++] = f->name;
	return n;
}

void daemon_names_of(const struct daemon_feature *own, uint64_t bits,
		     const char *names[DAEMON_NAMES_MAX + 1])
{
	unsigned n;

	n = name_features(own, bits, names, 0);
	n = name_features(ring_features, bits, names, n);
	names[n] = NULL;
}

void daemon_feature_names(const struct daemon *d, uint64_t bits,
			  const char *names[DAEMON_NAMES_MAX + 1])
{
	daemon_names_of(d->type->features, bits, names);
}

static void write_stats(struct daemon *d)
{
	const char *names[DAEMON_NAMES_MAX + 1];
	struct stats_values v = { 0 };

	daemon_feature_names(d, d->features, names);
	d->type->stats(d, &v);
	stats_write(&d->stats, &v, names);
}

static void set_clock(void *arg)
{
	struct daemon_queue *q = arg;

	q->daemon->dev->queue[q->index].now_ms = clock_about_ms();
}

void daemon_serve_look(struct daemon *d, unsigned queue,
		       struct vhu_ring_info *info)
{
	daemon_queue_run(d, queue, set_clock, &d->queues[queue]);
	vhu_queue_info(d->server, queue, info);
}

/* -- front ends ---------------------------------------------------------- */

static void part(struct daemon *d)
{
	struct vhu_info info;

	vhu_server_info(d->server, &info);
	d->features = info.features;
	loop_fd_del(&d->main->loop, &d->conn_fd);
	d->conn_fd.fd = -1;
	vhu_server_detach(d->server);
	write_stats(d);
	atomic_store(&d->lost, false);
	if (!atomic_load(&d->stuck))
		return;
	d->process->exit_code = EXIT_FAILURE;
	if (!d->process->many) {
		log_err("requests are still in flight: ending without them; where the front end keeps a record of them, the next program does them again");
		return;
	}
	log_err("requests are still in flight: this one is served no more; remove it, or begin again");
}

static void leave(struct daemon *d)
{
	bool last = d->sock.connected || d->opt.exit_on_disconnect;

	part(d);
	if (last || (atomic_load(&d->stuck) && !d->process->many)) {
		loop_stop(&d->main->loop);
		return;
	}
	if (atomic_load(&d->stuck))
		return;
	/* The next one may have been waiting all the while. */
	if (d->opt.connect)
		daemon_connect_again(d);
	else if (loop_fd_mod(&d->main->loop, &d->listen_fd, EPOLLIN))
		log_err("cannot listen again: %s", strerror(errno));
}

static void on_message(void *ctx, uint32_t events)
{
	struct daemon *d = ctx;
	const char *about = log_about(d->name);
	int rc = vhu_server_readable(d->server);

	/* What poll() and epoll name alike. */
	if (!rc && !(events & (uint32_t)vhu_server_events(d->server)))
		rc = loop_fd_mod(&d->main->loop, &d->conn_fd,
				 (uint32_t)vhu_server_events(d->server));
	if (rc == -ENOTCONN)
		log_debug("the front end left");
	else if (rc)
		log_err("parting from the front end: %s", strerror(-rc));
	if (rc)
		leave(d);
	log_about(about);
}

static int watch_front(struct daemon *d)
{
	int rc;

	d->conn_fd = (struct loop_fd){ vhu_server_fd(d->server), on_message,
				       d };
	rc = loop_fd_add(&d->main->loop, &d->conn_fd, EPOLLIN);
	if (rc) {
		log_err("cannot watch the front end: %s", strerror(-rc));
		d->conn_fd.fd = -1;
		vhu_server_detach(d->server);
		return rc;
	}
	log_debug("a front end connected");
	return 0;
}

int daemon_serve_attach(struct daemon *d, int fd)
{
	int rc = vhu_server_attach(d->server, fd);

	if (!rc)
		return watch_front(d);
	log_err("cannot serve the front end: %s", strerror(-rc));
	return rc;
}

int daemon_serve_hand_over(struct daemon *d, int fd)
{
	int rc;

	if (d->conn_fd.fd < 0)
		return 0;
	loop_fd_del(&d->main->loop, &d->conn_fd);
	rc = vhu_server_hand_over(d->server, fd);
	if (rc) {
		log_err("the successor does not get the front end: %s",
			strerror(-rc));
		loop_fd_add(&d->main->loop, &d->conn_fd, EPOLLIN);
		return rc;
	}
	d->conn_fd.fd = -1;
	return 0;
}

static void on_listen(void *ctx, uint32_t events)
{
	struct daemon *d = ctx;
	const char *about = log_about(d->name);
	int fd = sock_accept(&d->sock);

	(void)events;
	if (fd < 0 && fd != -EAGAIN)
		log_err("cannot accept a front end: %s", strerror(-fd));
	/* Another one waits in the socket's backlog until this one left. */
	if (fd >= 0 && !daemon_serve_attach(d, fd))
		loop_fd_mod(&d->main->loop, &d->listen_fd, 0);
	log_about(about);
}

static void on_lost(void *ctx, uint32_t events)
{
	struct daemon *d = ctx;
	const char *about;
	uint64_t n;

	(void)events;
	if (read(d->lost_fd.fd, &n, sizeof(n)) < 0)
		return;
	if (d->conn_fd.fd < 0 || !atomic_load(&d->lost))
		return;
	about = log_about(d->name);
	log_err("guest memory disappeared: the front end truncated the file behind it; parting from it");
	leave(d);
	log_about(about);
}

/* -- set up -------------------------------------------------------------- */

static int make_queues(struct daemon *d)
{
	unsigned i, n = d->dev->nr_queues;

	d->queues = calloc(n, sizeof(*d->queues));
	if (!d->queues)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		struct daemon_queue *q = &d->queues[i];

		q->daemon = d;
		q->index = i;
		q->kick = (struct loop_fd){ -1, queue_kick, q };
		q->wake = (struct loop_call){ .fn = queue_woken, .ctx = q };
		q->again = (struct loop_call){ .fn = queue_serve, .ctx = q };
		q->timer = (struct loop_timer){ .fn = queue_timer, .ctx = q };
		q->poller = (struct loop_poller){
			.ops = &queue_poller_ops, .ctx = q
		};
	}
	return 0;
}

int daemon_serve_init(struct daemon *d)
{
	struct vhu_conf conf = {
		.dev = d->dev,
		.env = &d->env,
		.env_ctx = d,
		.iommu = d->opt.iommu,
		.queue_num = d->queue_num,
		.log = { .fn = log_core, .ctx = (void *)d->name },
	};
	int rc, fd;

	d->env = env_ops;
	if (d->type->set_mtu) {
		d->env.set_mtu = env_set_mtu;
		d->env.send_rarp = env_send_rarp;
	}
	if (d->type->memory)
		d->env.memory = env_memory;
	if (d->process->faults_fd >= 0)
		d->env.userfaultfd = env_userfaultfd;
	d->config_call = (struct loop_call){ .fn = on_config_call, .ctx = d };
	d->config_timer = (struct loop_timer){
		.fn = on_config_timer, .ctx = d
	};
	rc = make_queues(d);
	if (!rc)
		rc = vhu_server_create(&d->server, &conf);
	if (rc)
		goto out;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		rc = -errno;
		goto out;
	}
	d->lost_fd = (struct loop_fd){ fd, on_lost, d };
	rc = loop_fd_add(&d->main->loop, &d->lost_fd, EPOLLIN);
out:
	if (rc)
		log_err("cannot set up the device: %s", strerror(-rc));
	return rc;
}

static struct worker *worker_of(struct daemon *d, unsigned queue)
{
	struct daemon_process *p = d->process;
	unsigned group = d->queues_together ? queue / d->queues_together :
					      queue;

	/* A device that wants fewer than there are has its own few. */
	if (!p->num_workers || !d->num_workers)
		return d->main;
	return &p->workers[(d->first_worker + group % d->num_workers) %
			   p->num_workers];
}

/* What the predecessor has: its front end, and its socket for others. */
static int inherit(struct daemon *d)
{
	int rc = daemon_upgrade_inherit(d);
	bool front = !rc;

	if (rc && rc != -ENOTCONN)
		return rc;
	if (d->type->alone)
		d->type->alone(d);
	rc = front ? watch_front(d) : 0;
	if (rc || d->sock.fd < 0)
		return rc;
	d->listen_fd = (struct loop_fd){ d->sock.fd, on_listen, d };
	return loop_fd_add(&d->main->loop, &d->listen_fd, front ? 0 : EPOLLIN);
}

int daemon_serve_start(struct daemon *d)
{
	unsigned i;
	bool front;
	int fd;

	for (i = 0; i < d->dev->nr_queues; i++)
		d->queues[i].worker = worker_of(d, i);
	if (d->inherits)
		return inherit(d);
	if (d->opt.connect)
		return daemon_connect_start(d);
	if (d->sock.connected) {
		fd = d->sock.fd;
		d->sock.fd = -1;	/* the server's from now on */
		return daemon_serve_attach(d, fd);
	}
	front = daemon_keep_take(d);
	if (front && watch_front(d))
		front = false;
	d->listen_fd = (struct loop_fd){ d->sock.fd, on_listen, d };
	return loop_fd_add(&d->main->loop, &d->listen_fd,
			   front ? 0 : EPOLLIN);
}

/* What is queued to be called refers to the queue. */
static void forget_calls(void *arg, unsigned queue)
{
	struct daemon_queue *q = &((struct daemon *)arg)->queues[queue];

	if (!q->worker)
		return;
	loop_call_cancel(queue_loop(q), &q->wake);
	loop_call_cancel(queue_loop(q), &q->again);
}

void daemon_serve_stop(struct daemon *d)
{
	daemon_connect_stop(d);
	if (d->process->ending)
		daemon_keep_files(d);
	if (d->process->ending && d->conn_fd.fd >= 0 &&
	    !atomic_load(&d->stuck) && daemon_keep_leave(d)) {
		loop_fd_del(&d->main->loop, &d->conn_fd);
		d->conn_fd.fd = -1;
	}
	if (d->conn_fd.fd >= 0)
		part(d);
	else if (d->server)
		write_stats(d);
	if (d->listen_fd.fd >= 0)
		loop_fd_del(&d->main->loop, &d->listen_fd);
	d->listen_fd.fd = -1;
	if (d->queues && !atomic_load(&d->stuck))
		daemon_queues_run(d, forget_calls, d);
}

void daemon_serve_fini(struct daemon *d)
{
	if (d->server)
		calls_del(&d->process->calls, d->server);
	/* What is in flight refers to all this. */
	if (atomic_load(&d->stuck))
		return;
	if (d->server)
		vhu_server_destroy(d->server);
	loop_call_cancel(&d->main->loop, &d->config_call);
	loop_timer_cancel(&d->main->loop, &d->config_timer);
	if (d->lost_fd.fd >= 0) {
		loop_fd_del(&d->main->loop, &d->lost_fd);
		close(d->lost_fd.fd);
	}
	d->lost_fd.fd = -1;
	free(d->queues);
	d->server = NULL;
	d->queues = NULL;
}

/* -- for the program ----------------------------------------------------- */

struct loop *daemon_queue_loop(struct daemon *d, unsigned queue)
{
	return &worker_of(d, queue)->loop;
}

void daemon_queue_run(struct daemon *d, unsigned queue,
		      void (*fn)(void *arg), void *arg)
{
	worker_run(worker_of(d, queue), fn, arg);
}

/* What a thread shall do for its queues. */
struct sweep {
	struct daemon *d;
	struct worker *worker;
	void (*fn)(void *arg, unsigned queue);
	void *arg;
};

static void sweep(void *arg)
{
	const struct sweep *s = arg;

	for (unsigned i = 0; i < s->d->dev->nr_queues; i++)
		if (worker_of(s->d, i) == s->worker)
			s->fn(s->arg, i);
}

void daemon_queues_run(struct daemon *d,
		       void (*fn)(void *arg, unsigned queue), void *arg)
{
	struct sweep s = { .d = d, .fn = fn, .arg = arg };
	unsigned i, k;

	for (i = 0; i < d->dev->nr_queues; i++) {
		s.worker = worker_of(d, i);
		for (k = 0; worker_of(d, k) != s.worker; k++)
			;
		if (k == i)
			worker_run(s.worker, sweep, &s);
	}
}
