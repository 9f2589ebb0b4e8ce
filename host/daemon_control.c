/* SPDX-License-Identifier: MIT */
/*
 * What every daemon tells over its control socket: its state, its rings, its
 * metrics. It changes nothing; commands that do are the device's own.
 */
#include "host/daemon_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>
#include <vireo/vhu_msg.h>

#include "host/clock.h"
#include "host/daemon_many.h"
#include "host/daemon_serve.h"

static uint64_t kicks(const struct daemon *d, unsigned queue)
{
	return __atomic_load_n(&d->queues[queue].kicks, __ATOMIC_RELAXED);
}

static const char *signal_name(enum vhu_signal s)
{
	static const char *const names[] = {
		[VHU_SIGNAL_NONE] = "none", [VHU_SIGNAL_FD] = "fd",
		[VHU_SIGNAL_MESSAGE] = "message", [VHU_SIGNAL_POLL] = "poll",
	};

	return names[s];
}

static const char *want_name(enum vio_want w)
{
	static const char *const names[] = {
		[VIO_WANT_ALL] = "all", [VIO_WANT_NONE] = "none",
		[VIO_WANT_AT] = "at",
	};

	return names[w];
}

static const char *state_name(const struct vhu_ring_info *r)
{
	if (r->broken)
		return "broken";
	if (r->started)
		return r->enabled ? "running" : "disabled";
	return r->configured ? "configured" : "stopped";
}

static uint32_t age(const struct vhu_ring_info *r, unsigned i)
{
	return r->now_ms - r->flight[i].since_ms;
}

static void add_heads(struct text *out, const struct vhu_ring_info *r)
{
	unsigned i;

	text_key(out, "heads");
	text_add(out, "[", 1);
	for (i = 0; i < r->nr_flights; i++) {
		text_comma(out);
		text_add(out, "{", 1);
		text_member_u64(out, "head", r->flight[i].head);
		text_member_u64(out, "age_ms", age(r, i));
		text_member_bool(out, "done", r->flight[i].done);
		text_member_bool(out, "replayed", r->flight[i].replayed);
		text_add(out, "}", 1);
	}
	text_add(out, "]", 1);
}

static void add_view(struct text *out, const struct vhu_ring_info *r,
		     bool packed)
{
	const struct vio_ring_view *v = &r->view;

	if (!packed) {
		text_member_u64(out, "avail_idx", v->avail_idx);
		text_member_u64(out, "used_idx", v->used_idx);
	}
	text_member_u64(out, "available", v->available);
	text_member_bool(out, "overrun", v->overrun);
	text_member_str(out, "kicks_wanted", want_name(v->kick));
	if (v->kick == VIO_WANT_AT)
		text_member_u64(out, "kick_at", v->kick_at);
	text_member_str(out, "calls_wanted", want_name(v->call));
	if (v->call == VIO_WANT_AT)
		text_member_u64(out, "call_at", v->call_at);
}

static void add_ring(struct daemon *d, struct text *out, unsigned queue,
		     bool packed)
{
	struct vhu_ring_info r;
	uint32_t oldest = 0;
	unsigned i;

	daemon_serve_look(d, queue, &r);
	for (i = 0; i < r.nr_flights; i++)
		oldest = age(&r, i) > oldest ? age(&r, i) : oldest;
	text_comma(out);
	text_add(out, "{", 1);
	text_member_u64(out, "queue", queue);
	text_member_str(out, "state", state_name(&r));
	text_member_u64(out, "size", r.size);
	text_member_str(out, "format", packed ? "packed" : "split");
	text_member_bool(out, "event_idx", r.event_idx);
	text_member_bool(out, "in_order", r.in_order);
	text_member_str(out, "kick", signal_name(r.kick));
	text_member_str(out, "call", signal_name(r.call));
	text_member_u64(out, "avail_base", r.avail_base);
	text_member_u64(out, "used_base", r.used_base);
	if (r.visible)
		add_view(out, &r, packed);
	text_member_u64(out, "inflight", r.inflight);
	text_member_u64(out, "oldest_ms", oldest);
	add_heads(out, &r);
	text_member_u64(out, "requests", r.stats.requests);
	text_member_u64(out, "kicks", kicks(d, queue));
	text_member_u64(out, "services", r.stats.kicks);
	text_member_u64(out, "notifications", r.stats.notifications);
	text_member_u64(out, "suppressed", r.stats.suppressed);
	text_add(out, "}", 1);
}

static void add_names(struct text *out, const char *key,
		      const char *const *names)
{
	text_key(out, key);
	text_add(out, "[", 1);
	for (; *names; names++) {
		text_comma(out);
		text_json(out, *names);
	}
	text_add(out, "]", 1);
}

static void add_protocol(struct text *out, uint64_t bits)
{
	const char *names[DAEMON_NAMES_MAX + 1];
	unsigned n = 0;

	for (unsigned i = 0; i < VHU_PROTOCOL_BITS; i++)
		if (bits >> i & 1)
			names[n++] = vhu_protocol_name(i);
	names[n] = NULL;
	add_names(out, "protocol_features", names);
}

static void add_rings(struct daemon *d, struct text *out, unsigned from,
		      unsigned to)
{
	struct vhu_info info;
	bool packed;

	vhu_server_info(d->server, &info);
	packed = info.features >> VIRTIO_F_RING_PACKED & 1;
	text_add(out, "[", 1);
	for (; from < to; from++)
		add_ring(d, out, from, packed);
	text_add(out, "]", 1);
}

static int cmd_status(void *ctx, unsigned nr_args, char **args,
		      struct text *out)
{
	const char *names[DAEMON_NAMES_MAX + 1];
	struct daemon *d = ctx;
	struct vhu_info info;

	(void)nr_args;
	(void)args;
	vhu_server_info(d->server, &info);
	text_add(out, "{", 1);
	text_member_str(out, "program", d->type->program);
	text_member_str(out, "version", daemon_version);
	text_member_str(out, "device", d->type->device);
	text_member_u64(out, "device_id", d->dev->ops->id);
	text_member_u64(out, "pid", (uint64_t)getpid());
	text_member_u64(out, "uptime_s",
			(clock_ns() - d->stats.start_ns) / NS_PER_S);
	text_member_bool(out, "connected", info.connected);
	text_member_u64(out, "status", vio_dev_status(d->dev));
	daemon_feature_names(d, info.features, names);
	add_names(out, "features", names);
	text_key(out, "feature_bits");
	text_fmt(out, "\"0x%llx\"", (unsigned long long)info.features);
	add_protocol(out, info.protocol_features);
	text_key(out, "protocol_feature_bits");
	text_fmt(out, "\"0x%llx\"",
		 (unsigned long long)info.protocol_features);
	text_member_u64(out, "memory_regions", info.mem_regions);
	if (d->type->status)
		d->type->status(d, out);
	text_key(out, "queues");
	add_rings(d, out, 0, d->dev->nr_queues);
	text_add(out, "}", 1);
	return 0;
}

static int cmd_ring(void *ctx, unsigned nr_args, char **args,
		    struct text *out)
{
	struct daemon *d = ctx;
	unsigned long n;
	char *end;

	if (!nr_args) {
		add_rings(d, out, 0, d->dev->nr_queues);
		return 0;
	}
	n = strtoul(args[0], &end, 10);
	if (*end || args[0][0] < '0' || args[0][0] > '9' ||
	    n >= d->dev->nr_queues) {
		text_fmt(out, "no queue '%s'; there are 0 to %u", args[0],
			 d->dev->nr_queues - 1);
		return -EINVAL;
	}
	add_rings(d, out, (unsigned)n, (unsigned)n + 1);
	return 0;
}

/* -- metrics, as OpenMetrics has them -------------------------------------- */

enum { PER_QUEUE_METRICS = 6 };

struct queue_metrics {
	uint64_t v[PER_QUEUE_METRICS];
};

static const struct {
	const char *name, *type, *help;
} queue_metric[PER_QUEUE_METRICS] = {
	{ "vireo_requests", "counter", "Requests done." },
	{ "vireo_kicks", "counter", "Kicks received by descriptor." },
	{ "vireo_services", "counter", "Times the queue was looked into." },
	{ "vireo_notifications", "counter",
	  "Used buffer notifications sent." },
	{ "vireo_notifications_suppressed", "counter",
	  "Notifications that the driver did not want." },
	{ "vireo_inflight_requests", "gauge", "Requests taken and not done." },
};

static void add_family(struct text *out, const char *name, const char *type,
		       const char *help)
{
	text_fmt(out, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
}

static void add_total(struct text *out, const char *name, const char *unit,
		      const char *help, uint64_t v)
{
	add_family(out, name, "counter", help);
	if (*unit)
		text_fmt(out, "# UNIT %s %s\n", name, unit);
	text_fmt(out, "%s_total %llu\n", name, (unsigned long long)v);
}

static void add_queue_metrics(struct text *out, const struct queue_metrics *m,
			      unsigned nr)
{
	unsigned i, k;

	for (k = 0; k < PER_QUEUE_METRICS; k++) {
		bool counter = queue_metric[k].type[0] == 'c';

		add_family(out, queue_metric[k].name, queue_metric[k].type,
			   queue_metric[k].help);
		for (i = 0; i < nr; i++)
			text_fmt(out, "%s%s{queue=\"%u\"} %llu\n",
				 queue_metric[k].name,
				 counter ? "_total" : "", i,
				 (unsigned long long)m[i].v[k]);
	}
}

static int cmd_metrics(void *ctx, unsigned nr_args, char **args,
		       struct text *out)
{
	struct stats_values v = { 0 };
	struct queue_metrics *m;
	struct daemon *d = ctx;
	struct vhu_ring_info r;
	struct vhu_info info;
	unsigned i;

	(void)nr_args;
	(void)args;
	m = calloc(d->dev->nr_queues, sizeof(*m));
	if (!m)
		return -ENOMEM;
	for (i = 0; i < d->dev->nr_queues; i++) {
		daemon_serve_look(d, i, &r);
		m[i] = (struct queue_metrics){ {
			r.stats.requests, kicks(d, i), r.stats.kicks,
			r.stats.notifications, r.stats.suppressed, r.inflight,
		} };
	}
	vhu_server_info(d->server, &info);
	d->type->stats(d, &v);
	add_family(out, "vireo", "info", "The program.");
	text_fmt(out, "vireo_info{device=\"%s\",version=\"%s\"} 1\n",
		 d->type->device, daemon_version);
	add_family(out, "vireo_connected", "gauge",
		   "Whether a front end is there.");
	text_fmt(out, "vireo_connected %d\n", info.connected);
	add_total(out, "vireo_read_bytes", "bytes",
		  "Bytes that the guest read.", v.bytes_read);
	add_total(out, "vireo_written_bytes", "bytes",
		  "Bytes that the guest wrote.", v.bytes_written);
	add_total(out, "vireo_errors", "", "Requests that failed.", v.errors);
	add_queue_metrics(out, m, d->dev->nr_queues);
	if (d->type->metrics)
		d->type->metrics(d, out);
	text_fmt(out, "# EOF\n");
	free(m);
	return 0;
}

static const struct control_command commands[] = {
	{ .name = "status", .args = "", .help = "the device and its state",
	  .run = cmd_status },
	{ .name = "ring", .args = "[QUEUE]", .max_args = 1,
	  .help = "all rings, or one", .run = cmd_ring },
	{ .name = "metrics", .args = "", .raw = true,
	  .help = "counters, as OpenMetrics text", .run = cmd_metrics },
	{ 0 }
};

int daemon_control_open(struct daemon_process *p,
			const struct daemon_options *o)
{
	if (!o->control_path || p->control_adopted)
		return 0;
	return control_open(&p->control, o->control_path);
}

static void *pick(void *process, const char *name)
{
	return daemon_many_find(process, name);
}

int daemon_control_start(struct daemon_process *p,
			 const struct daemon_options *o)
{
	const struct control_set one = {
		.table = { commands, p->type->commands },
		.ctx = { p->devices, p->devices },
	};
	const struct control_set many = {
		.table = { daemon_many_commands, commands, p->type->commands },
		.ctx = { p, p, p },
		.pick = { NULL, pick, pick },
	};

	if (!o->control_path)
		return 0;
	return control_start(&p->control, &p->main.loop,
			     p->many ? &many : &one);
}

void daemon_control_close(struct daemon_process *p)
{
	struct sock *s = &p->control.sock;
	/* The file is another daemon's, who still or already listens. */
	bool others = p->handed_over ||
		(p->control_adopted && !p->inherited);

	if (others && s->name[0] && s->dir_fd >= 0) {
		close(s->dir_fd);
		s->dir_fd = -1;
	}
	control_close(&p->control);
}
