/* SPDX-License-Identifier: MIT */
/*
 * One device from its opening to its end. How many there are is not known
 * here; front ends and queues are served in daemon_serve.c.
 */
#include "host/daemon_device.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/daemon_keep.h"
#include "host/daemon_options.h"
#include "host/daemon_serve.h"
#include "host/daemon_upgrade.h"
#include "host/log.h"

void daemon_device_init(struct daemon *d, struct daemon_process *p, void *ctx,
			const char *name)
{
	*d = (struct daemon){
		.type = p->type, .ctx = ctx, .process = p, .main = &p->main,
		.name = name, .unlink_dir_fd = -1,
		.sock = { .fd = -1, .dir_fd = -1 },
		.keep = { -1, -1 }, .stats = { .fd = -1 },
	};
	d->conn_fd.fd = d->lost_fd.fd = d->listen_fd.fd = -1;
}

static int open_socket(struct daemon *d)
{
	const struct daemon_options *o = &d->opt;
	struct sock_perm perm = {
		.mode = o->socket_mode == DAEMON_NOT_GIVEN ? -1 :
			(int)o->socket_mode,
		.owner = o->socket_owner,
		.group = o->socket_group,
	};

	if (d->inherits)
		return daemon_upgrade_adopt(d);
	if (o->fd_given)
		return sock_inherit(&d->sock, (int)o->fd);
	if (!o->socket_path) {
		log_err("where shall front ends connect? Give a socket-path");
		return -EINVAL;
	}
	return o->connect ? 0 : sock_listen(&d->sock, o->socket_path, &perm);
}

int daemon_device_open(struct daemon *d)
{
	int rc;

	daemon_upgrade_find(d);
	rc = d->type->open(d);
	if (rc) {
		daemon_upgrade_leave(d);
		return rc;
	}
	rc = stats_open(&d->stats, d->opt.stats_file, d->type->device);
	if (!rc)
		rc = open_socket(d);
	if (!rc)
		rc = daemon_keep_open(d);
	if (!rc)
		rc = daemon_serve_init(d);
	if (rc)
		daemon_device_close(d);
	return rc;
}

/* What is forbidden to a sandboxed program may end it. */
int daemon_network(const struct daemon *d, const char *what)
{
	const struct daemon_process *p = d->process;

	if (!d->live || !p->sandboxed || p->network)
		return 0;
	log_err("%s: the sandbox was closed without a network; a program that begins with such a device in its --config has one",
		what);
	return -EOPNOTSUPP;
}

/* Devices begin at different workers, so that small ones are spread. */
static void choose_workers(struct daemon *d)
{
	struct daemon_process *p = d->process;

	if (!p->num_workers)
		return;
	d->first_worker = p->next_worker;
	p->next_worker = (p->next_worker + d->num_workers) % p->num_workers;
}

int daemon_device_start(struct daemon *d)
{
	int rc = 0;

	choose_workers(d);
	if (calls_add(&d->process->calls, d->server))
		log_warn("too many devices to look whether their calls block");
	if (d->type->start)
		rc = d->type->start(d);
	if (rc)
		return rc;
	d->started = true;
	return daemon_serve_start(d);
}

void daemon_device_stop(struct daemon *d)
{
	daemon_serve_stop(d);
	if (d->started && d->type->stop && !atomic_load(&d->stuck))
		d->type->stop(d);
	d->started = false;
}

void daemon_device_close(struct daemon *d)
{
	daemon_serve_fini(d);
	daemon_keep_close(d);
	daemon_upgrade_leave(d);
	sock_close(&d->sock);
	stats_close(&d->stats);
	/* Storage that hangs would have us wait here for ever. */
	if (!atomic_load(&d->stuck))
		d->type->close(d);
}

struct vio_queue *daemon_queues_make(struct vio_dev *dev, unsigned n,
				     const struct vio_queue_limits *limits)
{
	size_t size = vio_queue_storage_size(limits);
	struct vio_queue *queues = calloc(n, sizeof(*queues));
	unsigned char *storage;
	unsigned i;

	/* One block for all; each part stays aligned to a cache line. */
	size = (size + 63) / 64 * 64;
	storage = size ? aligned_alloc(64, size * n) : NULL;
	if (!queues || !storage) {
		log_err("not enough memory for %u queues of %u entries", n,
			limits->size_max);
		free(queues);
		free(storage);
		return NULL;
	}
	for (i = 0; i < n; i++)
		if (vio_queue_init(&queues[i], dev, (uint16_t)i, limits,
				   storage + i * size, size))
			break;
	if (i == n)
		return queues;
	log_err("queues of %u entries cannot be made", limits->size_max);
	free(queues);
	free(storage);
	return NULL;
}

void daemon_queues_free(struct vio_queue *queues)
{
	if (!queues)
		return;
	/* The first queue's slots begin the block. */
	free(queues[0].slots);
	free(queues);
}
