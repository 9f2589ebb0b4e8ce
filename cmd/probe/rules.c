/* SPDX-License-Identifier: MIT */
/*
 * Does a back end keep to the rules? Each rule has a session of its own, in
 * which something is said that no good front end says, or says in another
 * order. A refusal is an acknowledgement other than 0, or a closed connection;
 * a back end without REPLY_ACK may also stay silent and go on.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#define MEM	65536u
#define GUEST	0x10000u	/* where it is for the guest */
#define USER	0x7000000u	/* and for the front end, it says */

/* The session of a rule; false, and the rule is untried, if there is none. */
static bool begin(struct probe *p, const char *id, struct peer *s)
{
	int r = peer_open_ready(p, s);

	if (!r)
		return true;
	found(p, id, V_UNTRIED, "no session: %s%s", strerror(-r),
	      p->start ? "" : " (--start could start it again)");
	return false;
}

static void tell_state(struct peer *s, uint32_t request, uint32_t index,
		       uint32_t num)
{
	vhu_msg_init(&s->out, request, 0, sizeof(s->out.p.state));
	s->out.p.state.index = index;
	s->out.p.state.num = num;
}

/* What has to be refused was, or not. */
static void must_refuse(struct probe *p, const char *id, struct peer *s,
			const char *what)
{
	enum taken t = peer_tell(s);
	enum verdict v = V_OK;

	if (t == TAKEN || t == TAKEN_SILENT)
		v = V_BREACH;
	else if (t == TAKEN_IGNORED && s->ack)
		v = V_NOTE;
	found(p, id, v, "%s: %s", what, taken_text(t));
	peer_close(s);
}

/* -- what is offered ------------------------------------------------------ */

static void rule_dependencies(struct probe *p)
{
	static const char id[] = "core.device.feature-bits.1";
	const struct type_feature *f = p->type ? p->type->features : NULL;
	bool good = true;

	for (; f && f->name; f++) {
		bool met = f->needs[0] < 0;

		for (int i = 0; i < 3; i++)
			if (f->needs[i] >= 0)
				met |= has_f(p, (unsigned)f->needs[i]);
		if (!has_f(p, f->bit) || met)
			continue;
		found(p, id, V_BREACH, "%s is offered without %s", f->name,
		      type_feature_name(p->type, (unsigned)f->needs[0]));
		good = false;
	}
	if (good)
		found(p, id, p->type ? V_OK : V_UNTRIED, p->type ?
		      "no feature is offered without what it needs" :
		      "the device's type is not known");
}

static uint64_t value_of(const struct probe *p, const char *name)
{
	const struct type_field *f = p->type->fields;

	while (f->name && strcmp(f->name, name))
		f++;
	return f->name && (size_t)f->offset + f->len <= p->config_len ?
		field_value(f, p->config) : 0;
}

/* Fields of which the standard says what they may be. */
static void rule_values(struct probe *p)
{
	static const struct {
		const char *type, *id, *field;
		uint8_t feature;
		uint64_t least, most;
	} rules[] = {
		{ "net", "net.device.device-configuration-layout.1",
		  "max_virtqueue_pairs", 22, 1, 0x8000 },
		{ "net", "net.device.device-configuration-layout.2", "mtu", 3,
		  68, 65535 },
		{ "blk", "blk: num_queues of MQ", "num_queues", 12, 1, 65535 },
		{ "blk", "blk: blk_size of BLK_SIZE", "blk_size", 6, 512,
		  1u << 31 },
		{ "blk", "blk: max_discard_seg of DISCARD", "max_discard_seg",
		  13, 1, UINT32_MAX },
	};

	for (unsigned i = 0; p->type && i < VIO_ARRAY_LEN(rules); i++) {
		uint64_t v;

		if (strcmp(rules[i].type, p->type->name) || !p->config_len ||
		    !has_f(p, rules[i].feature))
			continue;
		v = value_of(p, rules[i].field);
		found(p, rules[i].id, v < rules[i].least ||
		      v > rules[i].most ? V_BREACH : V_OK, "%s is %" PRIu64,
		      rules[i].field, v);
	}
}

static void rule_version_1(struct probe *p)
{
	bool has = has_f(p, VIRTIO_F_VERSION_1);

	found(p, "VERSION_1", has ? V_OK : V_NOTE, has ?
	      "it is a device of the standard" :
	      "not offered: only legacy drivers can use it");
}

/* -- messages ------------------------------------------------------------- */

static void rule_unknown(struct probe *p)
{
	static const char id[] = "unknown request";
	struct peer s;

	if (!begin(p, id, &s))
		return;
	vhu_msg_init(&s.out, 200, 0, 8);
	must_refuse(p, id, &s, "request 200");
}

static void rule_short(struct probe *p)
{
	static const char id[] = "wrong length";
	struct peer s;

	if (!begin(p, id, &s))
		return;
	vhu_msg_init(&s.out, VHOST_USER_SET_VRING_NUM, 0, 4);
	must_refuse(p, id, &s, "SET_VRING_NUM of 4 bytes");
}

static void rule_version(struct probe *p)
{
	static const char id[] = "wrong version";
	enum taken t;
	struct peer s;

	if (!begin(p, id, &s))
		return;
	tell_state(&s, VHOST_USER_SET_VRING_NUM, 0, 64);
	s.out.hdr.flags = 2;
	t = peer_tell(&s);
	found(p, id, t == TAKEN ? V_NOTE : t == TAKEN_SILENT ? V_BREACH : V_OK,
	      "a header of version 2: %s", taken_text(t));
	peer_close(&s);
}

static void rule_giant(struct probe *p)
{
	static const char id[] = "too long";
	struct vhu_hdr hdr = { VHOST_USER_SET_FEATURES, VHU_VERSION, 1 << 20 };
	struct peer s;
	int r;

	if (!begin(p, id, &s))
		return;
	r = send(s.sock.fd, &hdr, sizeof(hdr), MSG_NOSIGNAL) < 0 ? -1 :
		peer_receive(&s);
	found(p, id, r < 0 ? V_OK : V_NOTE, "a header that announces 1 MiB: %s",
	      r < 0 ? "the connection was closed" :
	      r ? "it was answered" : "it waits for all of it");
	peer_close(&s);
}

static void rule_index(struct probe *p)
{
	static const char id[] = "queue that is not there";
	struct peer s;

	if (!begin(p, id, &s))
		return;
	tell_state(&s, VHOST_USER_SET_VRING_NUM, 40000, 64);
	must_refuse(p, id, &s, "SET_VRING_NUM of queue 40000");
}

static void rule_sizes(struct probe *p)
{
	static const char id[] = "ring size";
	static const uint32_t sizes[] = { 0, 3, 65536 };
	struct peer s;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(sizes); i++) {
		enum taken t;

		if (!begin(p, id, &s))
			return;
		tell_state(&s, VHOST_USER_SET_VRING_NUM, 0, sizes[i]);
		t = peer_tell(&s);
		/* Nothing says that it must, but nothing good follows. */
		found(p, id, t == TAKEN_SILENT ? V_BREACH :
		      t == TAKEN || (t == TAKEN_IGNORED && s.ack) ? V_NOTE :
		      V_OK, "a split ring of %" PRIu32 " entries: %s",
		      sizes[i], taken_text(t));
		peer_close(&s);
	}
}

static void rule_features(struct probe *p)
{
	static const char id[] = "core.device.feature-bits.2";
	bool status = has_pf(p, VHOST_USER_PROTOCOL_F_STATUS);
	uint64_t v = 0;
	unsigned bit = 63;
	enum taken t;
	struct peer s;

	while (has_f(p, bit))
		bit--;
	if (!begin(p, id, &s))
		return;
	vhu_msg_init(&s.out, VHOST_USER_SET_FEATURES, 0, 8);
	s.out.p.u64 = p->features | 1ull << bit;
	t = peer_tell(&s);
	if (status && (t == TAKEN || t == TAKEN_IGNORED)) {
		vhu_msg_init(&s.out, VHOST_USER_SET_STATUS, 0, 8);
		s.out.p.u64 = VIRTIO_STATUS_ACKNOWLEDGE |
			VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK;
		t = peer_tell(&s);
		if (!peer_ask_u64(&s, VHOST_USER_GET_STATUS, &v) &&
		    !(v & VIRTIO_STATUS_FEATURES_OK))
			t = TAKEN_REFUSED;
	}
	found(p, id, t == TAKEN_SILENT || (status && t == TAKEN) ? V_BREACH :
	      t == TAKEN || t == TAKEN_IGNORED ? V_NOTE : V_OK,
	      "bit %u, which it does not offer: %s", bit, taken_text(t));
	peer_close(&s);
}

static void rule_reset(struct probe *p)
{
	static const char id[] = "core.device.device-reset.1";
	uint64_t v = ~0ull;
	struct peer s;
	int r;

	if (!has_pf(p, VHOST_USER_PROTOCOL_F_STATUS)) {
		found(p, id, V_NONE, "STATUS is not offered");
		return;
	}
	if (!begin(p, id, &s))
		return;
	vhu_msg_init(&s.out, VHOST_USER_SET_STATUS, 0, 8);
	s.out.p.u64 = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
	peer_tell(&s);
	vhu_msg_init(&s.out, VHOST_USER_SET_STATUS, 0, 8);
	peer_tell(&s);
	r = peer_ask_u64(&s, VHOST_USER_GET_STATUS, &v);
	found(p, id, r || v ? V_BREACH : V_OK, r ? "GET_STATUS: no answer" :
	      "the status after a reset is %" PRIu64, v);
	peer_close(&s);
}

/* -- configuration -------------------------------------------------------- */

static void ask_config(struct peer *s, uint32_t offset, uint32_t size)
{
	vhu_msg_init(&s->out, VHOST_USER_GET_CONFIG, 0,
		     (uint32_t)VHU_CONFIG_HDR + size);
	s->out.p.config.offset = offset;
	s->out.p.config.size = size;
}

static void rule_config(struct probe *p)
{
	static const char id[] = "GET_CONFIG";

	if (!has_pf(p, VHOST_USER_PROTOCOL_F_CONFIG))
		found(p, id, V_NONE, "CONFIG is not offered");
	else
		found(p, id, p->config_len ? V_OK : V_BREACH, p->config_len ?
		      "at least %zu bytes are given" : "no length was right",
		      p->config_len);
}

static void rule_bounds(struct probe *p)
{
	static const char id[] = "GET_CONFIG bounds";
	struct peer s;
	int r;

	if (!has_pf(p, VHOST_USER_PROTOCOL_F_CONFIG)) {
		found(p, id, V_NONE, "CONFIG is not offered");
		return;
	}
	if (!begin(p, id, &s))
		return;
	ask_config(&s, 0xfffffff0u, 32);
	r = peer_ask(&s);
	if (r == -ETIMEDOUT || r == -EPROTO)
		found(p, id, V_BREACH, "past all ends: no answer");
	else if (r)
		found(p, id, V_NOTE,
		      "past all ends: the connection was closed");
	else
		found(p, id, s.sock.in.hdr.size ? V_NOTE : V_OK,
		      "past all ends: %" PRIu32 " bytes of answer",
		      s.sock.in.hdr.size);
	peer_close(&s);
}

/* -- memory and rings ----------------------------------------------------- */

static void tell_memory(struct peer *s, int fd, uint64_t size, unsigned fds)
{
	struct vhu_mem_table *t = &s->out.p.table;

	vhu_msg_init(&s->out, VHOST_USER_SET_MEM_TABLE, 0,
		     offsetof(struct vhu_mem_table, region) +
		     sizeof(t->region[0]));
	t->nr = 1;
	t->region[0] = (struct vhu_region){ GUEST, size, USER, 0 };
	s->out.fd[0] = fd;
	s->out.nr_fds = fds;
}

static void rule_memory(struct probe *p)
{
	static const char id[] = "memory without a descriptor";
	struct peer s;

	if (!begin(p, id, &s))
		return;
	tell_memory(&s, -1, MEM, 0);
	must_refuse(p, id, &s, "SET_MEM_TABLE of one region");
}

static enum taken tell_fd(struct peer *s, uint32_t request, int fd)
{
	vhu_msg_init(&s->out, request, 0, 8);
	s->out.fd[0] = fd;
	s->out.nr_fds = 1;
	return peer_tell(s);
}

/* A ring whose addresses are no memory; then a kick. */
static enum taken wild_ring(struct peer *s, int mem, int kick)
{
	enum taken t;

	tell_memory(s, mem, MEM, 1);
	t = peer_tell(s);
	tell_state(s, VHOST_USER_SET_VRING_NUM, 0, 64);
	if (t <= TAKEN_IGNORED)
		t = peer_tell(s);
	vhu_msg_init(&s->out, VHOST_USER_SET_VRING_ADDR, 0,
		     sizeof(s->out.p.addr));
	s->out.p.addr.desc = USER + 2 * MEM;
	s->out.p.addr.avail = USER + 4 * MEM;
	s->out.p.addr.used = USER + 6 * MEM;
	if (t == TAKEN || t == TAKEN_IGNORED)
		t = peer_tell(s);
	if (t == TAKEN || t == TAKEN_IGNORED)
		t = tell_fd(s, VHOST_USER_SET_VRING_KICK, kick);
	tell_state(s, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	if (t == TAKEN || t == TAKEN_IGNORED)
		t = peer_tell(s);
	return t;
}

static void rule_wild_ring(struct probe *p)
{
	static const char id[] = "ring outside of memory";
	int mem = memfd_create("vireo-probe", MFD_CLOEXEC);
	int kick = eventfd(1, EFD_CLOEXEC);
	enum taken t;
	struct peer s;

	if (mem >= 0 && !ftruncate(mem, MEM) && begin(p, id, &s)) {
		t = wild_ring(&s, mem, kick);
		found(p, id, t == TAKEN_SILENT ? V_BREACH :
		      t == TAKEN ? V_NOTE : V_OK, "%s", taken_text(t));
		peer_close(&s);
	}
	close(mem);
	close(kick);
}

static void rule_early(struct probe *p)
{
	static const char id[] = "order: call before all else";
	int call = eventfd(0, EFD_CLOEXEC);
	enum taken t;
	struct peer s;

	/* QEMU does so when it initialises a device. */
	if (begin(p, id, &s)) {
		t = tell_fd(&s, VHOST_USER_SET_VRING_CALL, call);
		found(p, id, t == TAKEN || t == TAKEN_IGNORED ? V_OK :
		      V_BREACH, "SET_VRING_CALL: %s", taken_text(t));
		peer_close(&s);
	}
	close(call);
}

static void rule_base(struct probe *p)
{
	static const char id[] = "order: GET_VRING_BASE of a ring at rest";
	struct peer s;
	int r;

	if (!begin(p, id, &s))
		return;
	tell_state(&s, VHOST_USER_GET_VRING_BASE, 0, 0);
	r = peer_ask(&s);
	found(p, id, r == -ETIMEDOUT ? V_BREACH : r ? V_NOTE : V_OK, "%s",
	      r == -ETIMEDOUT ? "no answer" : r ? "the connection was closed" :
	      "answered");
	peer_close(&s);
}

static void rule_many_fds(struct probe *p)
{
	static const char id[] = "descriptors that nobody asked for";
	struct peer s;
	int fd = eventfd(0, EFD_CLOEXEC), r;

	if (begin(p, id, &s)) {
		vhu_msg_init(&s.out, VHOST_USER_GET_FEATURES, 0, 0);
		for (s.out.nr_fds = 0; s.out.nr_fds < 8; s.out.nr_fds++)
			s.out.fd[s.out.nr_fds] = fd;
		r = peer_ask(&s);
		found(p, id, r == -ETIMEDOUT ? V_BREACH : V_OK,
		      "GET_FEATURES with 8: %s", r == -ETIMEDOUT ?
		      "no answer to anything any more" :
		      r ? "the connection was closed" : "answered");
		peer_close(&s);
	}
	close(fd);
}

static void rule_half(struct probe *p)
{
	static const char id[] = "half a message, and gone";
	struct vhu_hdr hdr = { VHOST_USER_SET_FEATURES, VHU_VERSION, 8 };
	struct peer s;

	if (!begin(p, id, &s))
		return;
	if (send(s.sock.fd, &hdr, 7, MSG_NOSIGNAL) < 0)
		found(p, id, V_NOTE, "it hung up before");
	peer_close(&s);
	if (!begin(p, id, &s))
		return;
	found(p, id, V_OK, "the next front end is served");
	peer_close(&s);
}

/* -- afterwards ----------------------------------------------------------- */

static void rule_alive(struct probe *p)
{
	static const char id[] = "alive afterwards";
	uint64_t features = 0;
	struct peer s;
	int r;

	if (!begin(p, id, &s))
		return;
	r = peer_ask_u64(&s, VHOST_USER_GET_FEATURES, &features);
	found(p, id, r || features != p->features ? V_BREACH : V_OK, "%s",
	      r ? "no answer" : features == p->features ?
	      "it offers what it offered" : "it offers something else");
	peer_close(&s);
}

/* The same again that worked before. */
static void rule_works(struct probe *p)
{
	static const char id[] = "works afterwards";
	struct text before = p->smoke;
	bool tried = p->smoke_tried, good = p->smoke_good;
	struct peer s;

	if (!tried || !good)
		return;
	if (!begin(p, id, &s))
		return;
	peer_close(&s);
	text_init(&p->smoke, before.max);
	smoke(p);
	found(p, id, p->smoke_good ? V_OK : V_BREACH, "the smoke test: %s",
	      p->smoke_good ? "good" : text_str(&p->smoke));
	text_free(&p->smoke);
	p->smoke = before;
	p->smoke_good = good;
}

static void check(struct probe *p, void (*rule)(struct probe *p))
{
	unsigned before = p->nr_findings;

	p->crash_signal = 0;
	rule(p);
	peer_settle(p);
	if (p->crash_signal)
		found(p, before < p->nr_findings ? p->finding[before].id : "?",
		      V_BREACH, "the back end died of signal %d",
		      p->crash_signal);
}

void check_rules(struct probe *p)
{
	/* What any front end might do. */
	static void (*const good[])(struct probe *p) = {
		rule_version_1, rule_dependencies, rule_values, rule_config,
		rule_reset, rule_early,
	};
	static void (*const wrong[])(struct probe *p) = {
		rule_bounds, rule_features, rule_base, rule_unknown,
		rule_short, rule_version, rule_giant, rule_index, rule_sizes,
		rule_memory, rule_wild_ring, rule_many_fds, rule_half,
	};
	unsigned i;

	for (i = 0; i < VIO_ARRAY_LEN(good); i++)
		check(p, good[i]);
	for (i = 0; p->rules && i < VIO_ARRAY_LEN(wrong); i++)
		check(p, wrong[i]);
	check(p, rule_alive);
	if (p->rules)
		check(p, rule_works);
}
