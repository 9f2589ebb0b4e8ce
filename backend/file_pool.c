/* SPDX-License-Identifier: MIT */
/*
 * Threads for requests that may block: a list of jobs, and per queue a list
 * of finished ones that is handed back to the queue's loop. Does not know
 * what a job does; that is file_sync().
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "backend/file.h"
#include "host/clock.h"

#define POOL_THREADS (sizeof(((struct file_pool *)0)->thread) / \
		      sizeof(pthread_t))

int file_pool_init(struct file_pool *p)
{
	memset(p, 0, sizeof(*p));
	p->jobs_tail = &p->jobs;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	return 0;
}

void file_pool_fini(struct file_pool *p)
{
	unsigned i;

	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	for (i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->lock);
}

/* Under the lock, so that detach can tell that none is on its way. */
static void call(struct file_queue *q)
{
	if (!q->called && q->loop) {
		q->called = true;
		loop_post(q->loop, &q->call);
	}
}

void file_queue_call(struct file_queue *q)
{
	pthread_mutex_lock(&q->lock);
	call(q);
	pthread_mutex_unlock(&q->lock);
}

static void finished(struct file_queue *q, struct vio_blk_io *io)
{
	pthread_mutex_lock(&q->lock);
	file_io(io)->next = NULL;
	*q->finished_tail = io;
	q->finished_tail = &file_io(io)->next;
	pthread_cond_signal(&q->cond);
	call(q);
	pthread_mutex_unlock(&q->lock);
}

static struct vio_blk_io *take_job(struct file_pool *p)
{
	struct vio_blk_io *io;

	pthread_mutex_lock(&p->lock);
	p->idle++;
	while (!p->jobs && !p->stop)
		pthread_cond_wait(&p->cond, &p->lock);
	p->idle--;
	io = p->jobs;
	if (io) {
		p->jobs = file_io(io)->next;
		if (!p->jobs)
			p->jobs_tail = &p->jobs;
		p->job_count--;
	}
	pthread_mutex_unlock(&p->lock);
	return io;
}

static void *pool_thread(void *arg)
{
	struct file *f = arg;
	struct vio_blk_io *io;

	while ((io = take_job(&f->pool))) {
		file_io(io)->err = file_sync(f, io);
		finished(&f->queues[io->queue], io);
	}
	return NULL;
}

/* Under the lock. False: there is no thread at all to do the work. */
static bool grow(struct file *f)
{
	struct file_pool *p = &f->pool;
	sigset_t all, old;
	int rc;

	if (p->idle >= p->job_count || p->threads == POOL_THREADS)
		return true;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->thread[p->threads], NULL, pool_thread, f);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!rc)
		p->threads++;
	return p->threads > 0;
}

void file_pool_submit(struct file_queue *q, struct vio_blk_io *io)
{
	struct file *f = q->file;
	struct file_pool *p = &f->pool;
	bool served;

	file_io(io)->next = NULL;
	pthread_mutex_lock(&p->lock);
	p->job_count++;
	served = grow(f);
	if (served) {
		*p->jobs_tail = io;
		p->jobs_tail = &file_io(io)->next;
		q->pool_inflight++;
		pthread_cond_signal(&p->cond);
	} else {
		p->job_count--;
	}
	pthread_mutex_unlock(&p->lock);
	/* No thread to be had: slow is better than an error. */
	if (!served)
		file_finish(q, io, file_sync(f, io));
}

/* @end: wait for one until then, by clock_ns(); 0: do not wait. */
static struct vio_blk_io *take_finished(struct file_queue *q, uint64_t end)
{
	struct timespec t = {
		.tv_sec = (time_t)(end / NS_PER_S),
		.tv_nsec = (long)(end % NS_PER_S),
	};
	struct vio_blk_io *list;

	pthread_mutex_lock(&q->lock);
	while (end && !q->finished &&
	       !pthread_cond_timedwait(&q->cond, &q->lock, &t))
		;
	list = q->finished;
	q->finished = NULL;
	q->finished_tail = &q->finished;
	pthread_mutex_unlock(&q->lock);
	return list;
}

static void finish_list(struct file_queue *q, struct vio_blk_io *list)
{
	struct vio_blk_io *io;

	while (list) {
		io = list;
		list = file_io(io)->next;
		q->pool_inflight--;
		file_finish(q, io, file_io(io)->err);
	}
}

void file_pool_reap(struct file_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->called = false;
	pthread_mutex_unlock(&q->lock);
	file_batch_begin(q);
	finish_list(q, take_finished(q, 0));
	file_batch_end(q);
}

/* What no thread has taken yet. */
static struct vio_blk_io *take_jobs_of(struct file_queue *q)
{
	struct file_pool *p = &q->file->pool;
	struct vio_blk_io *mine = NULL, **tail = &mine;
	struct vio_blk_io **at = &p->jobs, *io;

	pthread_mutex_lock(&p->lock);
	while ((io = *at)) {
		if (io->queue != q->index) {
			at = &file_io(io)->next;
			continue;
		}
		*at = file_io(io)->next;
		p->job_count--;
		*tail = io;
		tail = &file_io(io)->next;
	}
	p->jobs_tail = at;
	*tail = NULL;
	pthread_mutex_unlock(&p->lock);
	return mine;
}

void file_pool_leave(struct file_queue *q)
{
	struct vio_blk_io *list = take_jobs_of(q), *io;

	while ((io = list)) {
		list = file_io(io)->next;
		q->pool_inflight--;
		io->done(io, VIO_E_AGAIN);
	}
}

void file_pool_drain(struct file_queue *q, uint64_t end)
{
	struct vio_blk_io *list;

	while (q->pool_inflight) {
		list = take_finished(q, end);
		if (!list)
			return;
		finish_list(q, list);
	}
}
