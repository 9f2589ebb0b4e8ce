/* SPDX-License-Identifier: MIT */
/*
 * A zoned disk made of one that is not: this back end keeps the zones
 * (zones.h) and their file (zones_store.h), and passes data on to the disk
 * below. It is a back end among others: it knows no ring and no guest.
 *
 * What is durable, and when: a write pointer is stored by the flush that
 * makes the data below it durable, after the data; with FUA, by the write. A
 * change that a request asks of a zone is stored before that request is
 * answered, and before the disk below gives the zone's room back. Sectors at
 * and above the write pointer read as zeroes, whatever lies there.
 *
 * Storing is done by a thread of its own, for all that wait at once.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "backend/blkdev.h"
#include "backend/drain.h"
#include "backend/zones_store.h"
#include "host/clock.h"
#include "host/log.h"

#define APPEND_MAX_SECTORS	2048u

struct zoned;

/* A request on its way through the disk below or the store. */
struct zio {
	struct vio_blk_io io;	/* for the disk below */
	struct vio_blk_io *up;
	struct zoned *zoned;
	struct zio *next;	/* free, waiting, or finished */
	struct zone_write write;
	int result;
	bool discard;		/* after it was stored */
};

struct zoned_queue {
	struct zoned *zoned;
	struct loop *loop;
	struct zio *all, *free;		/* the queue's thread's */
	unsigned busy;			/* of them */
	unsigned index;
	/* Stored; under the lock. */
	struct zio *finished;
	struct loop_call call;
	bool called;
};

struct zoned {
	struct blkdev dev;
	struct blkdev *below;
	struct zones_store *store;	/* NULL: lives as long as we do */
	struct zones_record *records;	/* the keeper's */
	unsigned nr_queues;
	struct zoned_queue *queues;

	pthread_mutex_t lock;		/* of what follows */
	struct zones zones;
	struct zio *waiting;		/* for the keeper, latest first */
	bool keeper_runs, stop;
	int broken;			/* errno of a store that failed */
	pthread_cond_t work, done;
	pthread_t keeper;
	struct blkdev_patience patience;
	atomic_bool inherited;		/* the states are still to be read */
	bool lost;			/* and could not be */
	bool left;			/* others have them now */
};

static struct zoned *zoned_of(void *backend)
{
	return vio_container_of(backend, struct zoned, dev);
}

/* -- answering ------------------------------------------------------------ */

static void finish(struct zio *zio, int result)
{
	struct zoned_queue *q = &zio->zoned->queues[zio->up->queue];
	struct vio_blk_io *up = zio->up;

	zio->next = q->free;
	q->free = zio;
	q->busy--;
	up->done(up, result);
}

static void discard_done(struct vio_blk_io *io, int result)
{
	/* Room that is not given back is no loss to anybody. */
	(void)result;
	finish(vio_container_of(io, struct zio, io), VIO_OK);
}

static struct zio *borrow(struct zoned_queue *q, struct vio_blk_io *up)
{
	struct zio *zio = q->free;

	if (!zio)
		return NULL;
	q->free = zio->next;
	q->busy++;
	zio->io = *up;
	zio->up = up;
	zio->zoned = q->zoned;
	zio->discard = false;
	return zio;
}

static void pass_on(struct zio *zio,
		    void (*done)(struct vio_blk_io *io, int result))
{
	struct blkdev *below = zio->zoned->below;

	zio->io.done = done;
	below->ops->io.submit(below, &zio->io);
}

/* -- storing -------------------------------------------------------------- */

/* After the store, on the queue's thread. */
static void stored(struct zio *zio)
{
	if (zio->result == VIO_OK && zio->discard) {
		zio->io.op = VIO_BLK_DISCARD;
		zio->io.flags = 0;
		pass_on(zio, discard_done);
		return;
	}
	finish(zio, zio->result);
}

/* Under the lock: what has changed since the last time. */
static uint32_t take_dirty(struct zoned *z)
{
	uint32_t n = z->zones.nr_dirty;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t zone = z->zones.dirty[i];

		z->zones.zone[zone].dirty = false;
		z->records[i] = zones_store_record(&z->zones, zone);
	}
	z->zones.nr_dirty = 0;
	return n;
}

static void hand_back(struct zoned *z, struct zio *list, int rc)
{
	while (list) {
		struct zio *zio = list;
		struct zoned_queue *q = &z->queues[zio->up->queue];

		list = zio->next;
		if (rc && zio->result == VIO_OK)
			zio->result = VIO_E_IO;
		zio->next = q->finished;
		q->finished = zio;
		if (!q->called && q->loop) {
			q->called = true;
			loop_post(q->loop, &q->call);
		}
	}
	pthread_cond_broadcast(&z->done);
}

/* One store for all that wait. Under the lock, which it gives up meanwhile. */
static void keep(struct zoned *z)
{
	struct zio *list = z->waiting;
	uint32_t n = take_dirty(z);
	int rc = z->broken;

	z->waiting = NULL;
	pthread_mutex_unlock(&z->lock);
	if (n && !rc)
		rc = zones_store_save(z->store, z->records, n);
	pthread_mutex_lock(&z->lock);
	/* As with a disk that could not be written back: no flush succeeds
	 * any more, for nobody knows what the file holds. */
	if (rc && !z->broken) {
		z->broken = rc;
		log_err("the states of the zones could not be stored (%s): no flush will succeed from now on; check the host's disk, then restart",
			strerror(-rc));
	}
	hand_back(z, list, rc);
}

static void *keeper(void *arg)
{
	struct zoned *z = arg;

	pthread_mutex_lock(&z->lock);
	for (;;) {
		while (!z->waiting && !z->stop)
			pthread_cond_wait(&z->work, &z->lock);
		if (!z->waiting)
			break;
		keep(z);
	}
	pthread_mutex_unlock(&z->lock);
	return NULL;
}

/* Store what changed, then go on with @zio. */
static void store(struct zio *zio, int result)
{
	struct zoned *z = zio->zoned;

	zio->result = result;
	if (!z->store || result != VIO_OK) {
		stored(zio);
		return;
	}
	pthread_mutex_lock(&z->lock);
	zio->next = z->waiting;
	z->waiting = zio;
	if (z->keeper_runs)
		pthread_cond_signal(&z->work);
	else
		keep(z);	/* tests, and a system without threads */
	pthread_mutex_unlock(&z->lock);
}

/* @end: wait for one until then, by clock_ns(); 0: do not wait. */
static struct zio *take_finished(struct zoned_queue *q, uint64_t end)
{
	const struct timespec t = {
		.tv_sec = (time_t)(end / NS_PER_S),
		.tv_nsec = (long)(end % NS_PER_S),
	};
	struct zoned *z = q->zoned;
	struct zio *list;

	pthread_mutex_lock(&z->lock);
	while (end && !q->finished &&
	       !pthread_cond_clockwait(&z->done, &z->lock, CLOCK_MONOTONIC,
				       &t))
		;
	list = q->finished;
	q->finished = NULL;
	pthread_mutex_unlock(&z->lock);
	return list;
}

static void run_finished(struct zio *list)
{
	while (list) {
		struct zio *zio = list;

		list = zio->next;
		stored(zio);
	}
}

static void on_stored(void *ctx)
{
	struct zoned_queue *q = ctx;
	struct blkdev_batch *b = &q->zoned->dev.batch;

	pthread_mutex_lock(&q->zoned->lock);
	q->called = false;
	pthread_mutex_unlock(&q->zoned->lock);
	if (b->begin)
		b->begin(b->ctx, q->index);
	run_finished(take_finished(q, 0));
	q->zoned->below->ops->io.commit(q->zoned->below, q->index);
	if (b->end)
		b->end(b->ctx, q->index);
}

/* -- reading -------------------------------------------------------------- */

/* Zero the bytes [from, to) of the request's data. */
static void blank(const struct vio_blk_io *io, uint64_t from, uint64_t to)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < io->nr_seg && at < to; i++) {
		uint64_t len = io->seg[i].len;
		uint64_t a = from > at ? from - at : 0;
		uint64_t b = to - at < len ? to - at : len;

		if (a < b)
			memset((char *)io->seg[i].base + a, 0, b - a);
		at += len;
	}
}

/* What is unwritten of [first, first + nr) reads as zeroes. */
static void blank_unwritten(struct zoned *z, const struct vio_blk_io *io)
{
	uint64_t first = io->offset / 512, end = first + io->len / 512;

	for (uint64_t at = first; at < end;) {
		const struct zone *g = zones_at(&z->zones, at);
		uint64_t stop = g->start + g->size < end ? g->start + g->size :
			end;
		uint64_t from = at;

		pthread_mutex_lock(&z->lock);
		if (g->type == VIRTIO_BLK_ZT_CONV || g->wp >= stop)
			from = stop;
		else if (g->wp > from)
			from = g->wp;
		pthread_mutex_unlock(&z->lock);
		if (from < stop)
			blank(io, (from - first) * 512, (stop - first) * 512);
		at = stop;
	}
}

static void read_done(struct vio_blk_io *io, int result)
{
	struct zio *zio = vio_container_of(io, struct zio, io);

	if (result == VIO_OK)
		blank_unwritten(zio->zoned, zio->up);
	finish(zio, result);
}

static void do_read(struct zoned *z, struct zio *zio)
{
	int rc;

	pthread_mutex_lock(&z->lock);
	rc = zones_check_read(&z->zones, zio->io.offset / 512,
			      zio->io.len / 512);
	pthread_mutex_unlock(&z->lock);
	if (rc != VIO_OK)
		finish(zio, rc);
	else
		pass_on(zio, read_done);
}

/* -- writing -------------------------------------------------------------- */

static void write_done(struct vio_blk_io *io, int result)
{
	struct zio *zio = vio_container_of(io, struct zio, io);
	struct zoned *z = zio->zoned;

	pthread_mutex_lock(&z->lock);
	zones_end(&z->zones, &zio->write, result == VIO_OK);
	pthread_mutex_unlock(&z->lock);
	if (zio->up->op == VIO_BLK_ZONE_APPEND)
		zio->up->offset = zio->write.sector * 512;
	if (zio->up->flags & VIO_BLK_FUA)
		store(zio, result);
	else
		finish(zio, result);
}

static void do_write(struct zoned *z, struct zio *zio)
{
	bool append = zio->io.op == VIO_BLK_ZONE_APPEND;
	int rc;

	pthread_mutex_lock(&z->lock);
	rc = zones_begin(&z->zones, zio->io.offset / 512, zio->io.len / 512,
			 append, &zio->write);
	pthread_mutex_unlock(&z->lock);
	if (rc != VIO_OK) {
		finish(zio, rc);
		return;
	}
	zio->io.op = VIO_BLK_WRITE;
	zio->io.offset = zio->write.sector * 512;
	pass_on(zio, write_done);
}

/* -- everything else ------------------------------------------------------ */

static void then_store(struct vio_blk_io *io, int result)
{
	store(vio_container_of(io, struct zio, io), result);
}

static void plain_done(struct vio_blk_io *io, int result)
{
	finish(vio_container_of(io, struct zio, io), result);
}

/* The room of the zones that were reset may go, as far as it can. */
static void set_room(struct zoned *z, struct zio *zio, uint64_t sector,
		     uint64_t nr)
{
	zio->discard = z->below->conf.max_discard_sectors >= nr;
	zio->io.offset = sector * 512;
	zio->io.len = nr * 512;
}

static void do_manage(struct zoned *z, struct zio *zio)
{
	uint64_t sector = zio->io.offset / 512;
	const struct zone *g = zones_at(&z->zones, sector);
	enum vio_blk_op op = zio->io.op;
	int rc = VIO_OK;

	pthread_mutex_lock(&z->lock);
	if (op == VIO_BLK_ZONE_RESET_ALL)
		zones_reset_all(&z->zones);
	else
		rc = zones_manage(&z->zones, op, sector);
	pthread_mutex_unlock(&z->lock);
	if (op == VIO_BLK_ZONE_RESET)
		set_room(z, zio, g->start, g->size);
	store(zio, rc);
}

/* blk.device.device-operation.39: as a reset, and then for ever. */
static void do_erase(struct zoned *z, struct zio *zio)
{
	uint64_t at = zio->io.offset / 512, end = at + zio->io.len / 512;
	int rc = VIO_OK;

	pthread_mutex_lock(&z->lock);
	while (at < end && rc == VIO_OK) {
		const struct zone *g = zones_at(&z->zones, at);

		if (g->type != VIRTIO_BLK_ZT_CONV)
			rc = zones_manage(&z->zones, VIO_BLK_ZONE_RESET, at);
		at = g->start + g->size;
	}
	pthread_mutex_unlock(&z->lock);
	if (rc != VIO_OK)
		finish(zio, rc);
	else
		pass_on(zio, then_store);
}

/*
 * The first request after an upgrade: the predecessor has stopped, and what it
 * left in the store counts from now on.
 */
static void catch_up(struct zoned *z)
{
	pthread_mutex_lock(&z->lock);
	if (atomic_load(&z->inherited) && z->store)
		z->lost = zones_store_begin(z->store) != 0;
	atomic_store(&z->inherited, false);
	pthread_mutex_unlock(&z->lock);
}

static void zoned_submit(void *backend, struct vio_blk_io *up)
{
	struct zoned *z = zoned_of(backend);
	struct zio *zio = borrow(&z->queues[up->queue], up);

	if (vio_unlikely(atomic_load_explicit(&z->inherited,
					      memory_order_acquire)))
		catch_up(z);
	if (!zio || z->lost || up->offset > z->zones.conf.disk * 512 ||
	    up->len > z->zones.conf.disk * 512 - up->offset ||
	    (z->dev.conf.read_only && up->op != VIO_BLK_READ &&
	     up->op != VIO_BLK_FLUSH)) {
		if (zio)
			finish(zio, VIO_E_IO);
		else
			up->done(up, VIO_E_IO);
		return;
	}
	if (up->op == VIO_BLK_READ)
		do_read(z, zio);
	else if (up->op == VIO_BLK_WRITE || up->op == VIO_BLK_ZONE_APPEND)
		do_write(z, zio);
	else if (up->op == VIO_BLK_FLUSH)
		pass_on(zio, then_store);
	else if (up->op == VIO_BLK_SECURE_ERASE)
		do_erase(z, zio);
	else if (up->op >= VIO_BLK_ZONE_OPEN)
		do_manage(z, zio);
	else
		pass_on(zio, plain_done);
}

static void zoned_commit(void *backend, unsigned queue)
{
	struct zoned *z = zoned_of(backend);

	z->below->ops->io.commit(z->below, queue);
}

static void zoned_drain(void *backend, unsigned queue)
{
	struct zoned *z = zoned_of(backend);
	struct zoned_queue *q = &z->queues[queue];
	uint64_t end = blkdev_drain_end(&z->patience);

	while (q->busy) {
		zoned_commit(backend, queue);
		if (z->below->ops->io.drain)
			z->below->ops->io.drain(z->below, queue);
		/* What is left waits for the keeper. */
		if (q->busy)
			run_finished(take_finished(q, end));
		if (q->busy && clock_ns() >= end) {
			blkdev_drain_failed(&z->patience, q->busy);
			return;
		}
	}
}

static unsigned zoned_report(void *backend, uint64_t sector,
			     struct vio_blk_zone *out, unsigned max)
{
	struct zoned *z = zoned_of(backend);
	unsigned n;

	if (atomic_load(&z->inherited))
		catch_up(z);
	pthread_mutex_lock(&z->lock);
	n = zones_report(&z->zones, sector, out, max);
	pthread_mutex_unlock(&z->lock);
	return n;
}

static int zoned_wear(void *backend, struct vio_blk_wear *wear)
{
	struct zoned *z = zoned_of(backend);

	return z->below->ops->io.wear(z->below, wear);
}

/* -- life ------------------------------------------------------------------ */

static int start_keeper(struct zoned *z)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSYS);
	pthread_mutex_lock(&z->lock);
	if (z->store && !z->keeper_runs) {
		pthread_sigmask(SIG_SETMASK, &all, &old);
		rc = -pthread_create(&z->keeper, NULL, keeper, z);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		z->keeper_runs = !rc;
	}
	pthread_mutex_unlock(&z->lock);
	return rc;
}

static int zoned_attach(struct blkdev *d, unsigned queue, struct loop *loop)
{
	struct zoned *z = zoned_of(d);
	struct zoned_queue *q = &z->queues[queue];
	int rc = start_keeper(z);

	q->loop = loop;
	q->call = (struct loop_call){ .fn = on_stored, .ctx = q };
	z->below->batch = d->batch;
	if (!rc && z->below->ops->attach)
		rc = z->below->ops->attach(z->below, queue, loop);
	return rc;
}

static void zoned_detach(struct blkdev *d, unsigned queue)
{
	struct zoned *z = zoned_of(d);

	if (z->below->ops->detach)
		z->below->ops->detach(z->below, queue);
	loop_call_cancel(z->queues[queue].loop, &z->queues[queue].call);
}

static void stop_keeper(struct zoned *z)
{
	pthread_mutex_lock(&z->lock);
	z->stop = true;
	pthread_cond_signal(&z->work);
	pthread_mutex_unlock(&z->lock);
	if (z->keeper_runs)
		pthread_join(z->keeper, NULL);
	z->keeper_runs = false;
}

/* A disk that ends in peace is found as it is, even after a boot. */
static void save_all(struct zoned *z)
{
	uint32_t n = take_dirty(z);

	if (n && !z->broken && !z->left && !z->lost &&
	    !atomic_load(&z->inherited) && !z->dev.conf.read_only)
		zones_store_save(z->store, z->records, n);
}

static void zoned_close(struct blkdev *d)
{
	struct zoned *z = zoned_of(d);

	stop_keeper(z);
	if (z->store) {
		save_all(z);
		zones_store_close(z->store);
	}
	zones_fini(&z->zones);
	for (unsigned i = 0; z->queues && i < z->nr_queues; i++)
		free(z->queues[i].all);
	free(z->queues);
	free(z->records);
	pthread_mutex_destroy(&z->lock);
	pthread_cond_destroy(&z->work);
	pthread_cond_destroy(&z->done);
	if (z->below)
		blkdev_close(z->below);
	free(z);
}

static const struct blkdev_ops zoned_ops = {
	.io = { .submit = zoned_submit, .commit = zoned_commit,
		.drain = zoned_drain, .zone_report = zoned_report,
		.wear = zoned_wear },
	.attach = zoned_attach,
	.detach = zoned_detach,
	.close = zoned_close,
};

static int make_queues(struct zoned *z, const struct blkdev_zoned_conf *conf)
{
	z->nr_queues = conf->num_queues;
	z->queues = calloc(conf->num_queues, sizeof(*z->queues));
	if (!z->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < conf->num_queues; i++) {
		struct zoned_queue *q = &z->queues[i];

		q->zoned = z;
		q->index = i;
		q->all = calloc(conf->queue_size, sizeof(*q->all));
		if (!q->all)
			return -ENOMEM;
		for (unsigned k = 0; k < conf->queue_size; k++) {
			q->all[k].next = q->free;
			q->free = &q->all[k];
		}
	}
	return 0;
}

/* The disk as it is from now on. */
static void fill_conf(struct zoned *z, const struct blkdev_zoned_conf *conf)
{
	struct vio_blk_conf *c = &z->dev.conf;
	uint32_t capacity = conf->zone_capacity ? conf->zone_capacity :
		conf->zone_sectors;

	*c = z->below->conf;
	c->zoned = true;
	c->zones = (struct vio_blk_zones){
		.model = conf->host_aware ? VIRTIO_BLK_Z_HA : VIRTIO_BLK_Z_HM,
		.zone_sectors = conf->zone_sectors,
		.max_open = conf->max_open,
		.max_active = conf->host_aware ? 0 : conf->max_active,
		.max_append_sectors = conf->host_aware ? 0 :
			capacity < APPEND_MAX_SECTORS ? capacity :
			APPEND_MAX_SECTORS,
		.write_granularity = (c->blk_size ? c->blk_size : 512) <<
			c->physical_block_exp,
	};
	if (!conf->host_aware) {
		c->max_discard_sectors = c->max_discard_seg = 0;
		c->max_write_zeroes_sectors = c->max_write_zeroes_seg = 0;
		c->write_zeroes_may_unmap = false;
	}
	if (c->max_secure_erase_sectors) {
		c->secure_erase_sector_alignment = conf->zone_sectors;
		c->max_secure_erase_sectors -= c->max_secure_erase_sectors %
			conf->zone_sectors;
		if (!c->max_secure_erase_sectors)
			c->max_secure_erase_seg = 0;
	}
}

static int check_conf(const struct zoned *z,
		      const struct blkdev_zoned_conf *conf)
{
	const struct vio_blk_zones *g = &z->dev.conf.zones;
	uint32_t unit = g->write_granularity / 512;

	if (!conf->zone_sectors || conf->zone_sectors % unit ||
	    conf->zone_capacity % unit ||
	    conf->zone_capacity > conf->zone_sectors ||
	    z->dev.conf.capacity_sectors % unit) {
		log_err("zones: the size and the capacity of a zone, and of the disk, must be multiples of %u bytes, and a zone's capacity at most its size",
			unit * 512);
		return -EINVAL;
	}
	if (g->max_active && g->max_open > g->max_active) {
		log_err("zones: %u may be open, but only %u active, and open ones are active; raise --max-active-zones",
			g->max_open, g->max_active);
		return -EINVAL;
	}
	return 0;
}

static int open_zones(struct zoned *z, const struct blkdev_zoned_conf *conf)
{
	const struct vio_blk_zones *g = &z->dev.conf.zones;
	const struct zones_conf zc = {
		.model = g->model,
		.disk = z->dev.conf.capacity_sectors,
		.zone_sectors = g->zone_sectors,
		.zone_capacity = conf->zone_capacity,
		.conventional = conf->conventional,
		.max_open = g->max_open, .max_active = g->max_active,
		.granularity = g->write_granularity,
	};
	int rc = zones_init(&z->zones, &zc);

	if (rc)
		log_err("zones: %llu bytes in zones of %llu each: %s; make them larger",
			(unsigned long long)zc.disk * 512,
			(unsigned long long)zc.zone_sectors * 512,
			rc == -ENOMEM ? "no memory for so many" :
			"too many");
	if (!rc)
		z->records = calloc(z->zones.nr, sizeof(*z->records));
	if (!rc && !z->records)
		rc = -ENOMEM;
	if (!rc && conf->store_path)
		rc = zones_store_open(&z->store, conf->store_path, &z->zones,
				      z->dev.conf.read_only, conf->inherited);
	atomic_store(&z->inherited, conf->inherited && z->store);
	return rc;
}

void blkdev_zoned_leave(struct blkdev *d)
{
	zoned_of(d)->left = true;
}

int blkdev_zoned_open(struct blkdev **d, struct blkdev *below,
		      const struct blkdev_zoned_conf *conf)
{
	struct zoned *z = calloc(1, sizeof(*z));
	int rc;

	if (!z)
		return -ENOMEM;
	pthread_mutex_init(&z->lock, NULL);
	pthread_cond_init(&z->work, NULL);
	pthread_cond_init(&z->done, NULL);
	z->dev.ops = &zoned_ops;
	z->dev.engine = below->engine;
	z->below = below;
	fill_conf(z, conf);
	rc = check_conf(z, conf);
	if (!rc)
		rc = make_queues(z, conf);
	if (!rc)
		rc = open_zones(z, conf);
	if (rc) {
		z->below = NULL;	/* still the caller's */
		zoned_close(&z->dev);
		return rc;
	}
	*d = &z->dev;
	return 0;
}
