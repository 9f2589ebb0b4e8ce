/* SPDX-License-Identifier: MIT */
/*
 * The orders in which front ends say things, as their sources have them, each
 * a line of words that is replayed against the back end. What matters is that
 * their rings work where they expect it, and rest where they do.
 *
 * A word is NAME, NAME:QUEUE or NAME:*, which is queues 0 and 1 in turn; and
 * =NUMBER where it takes one. "work" has both queues used, from the buffer to
 * the call; "rest" that nothing is; "again" is another life of the driver, with
 * empty rings.
 */
#define _GNU_SOURCE
#include "fe.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#define BIT(n)		(1ull << (n))
#define MODERN		BIT(VIRTIO_F_VERSION_1)
#define PROTOCOL	BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define LOG_ALL		BIT(VHOST_F_LOG_ALL)
#define QUEUES		2

struct peer {
	const char *name;
	uint64_t protocol;
	bool ack;		/* NEED_REPLY with all, once it is agreed */
	bool inband;
	const char *says;
};

struct play {
	const struct peer *peer;
	struct fe f;
	int channel;		/* ours; -1: none */
	struct vhu_sock back;
	int log;
	struct vhu_inflight inflight;
	int inflight_fd;
	bool agreed;
	unsigned resting;	/* buffers that wait in each queue */
};

static struct play p;

/* -- what words do -------------------------------------------------------- */

static void say(uint32_t request, const void *payload, uint32_t size, int fd)
{
	bool ack = p.peer->ack && p.agreed && !vhu_rule(request)->reply;

	if (ack)
		CHECK_EQ(fe_ask(&p.f, request, payload, size, &fd, fd >= 0),
			 0);
	else
		fe_send(&p.f, request, 0, payload, size, &fd, fd >= 0);
}

static void say_u64(uint32_t request, uint64_t v, int fd)
{
	say(request, &v, sizeof(v), fd);
}

static void say_state(uint32_t request, unsigned q, uint32_t v)
{
	struct vhu_vring_state st = { q, v };

	say(request, &st, sizeof(st), -1);
}

static void say_addr(unsigned q, bool log)
{
	const uint64_t at = FE_USER + q * 0x4000;
	struct vhu_vring_addr a = {
		.index = q, .flags = log ? VHU_VRING_F_LOG : 0,
		.desc = at, .avail = at + 0x1000, .used = at + 0x2000,
		.log = FE_GUEST + q * 0x4000 + 0x2000,
	};

	say(VHOST_USER_SET_VRING_ADDR, &a, sizeof(a), -1);
}

static void say_memory(uint32_t request, bool fd, bool more)
{
	struct vhu_mem_reg r = {
		.region = { FE_GUEST, FE_MEM, FE_USER, 0 },
	};

	if (more) {
		r.region.guest_addr += FE_MEM;
		r.region.user_addr += FE_MEM;
	}
	say(request, &r, sizeof(r), fd ? p.f.memfd : -1);
}

static void say_table(void)
{
	struct vhu_mem_table t = {
		.nr = 1, .region[0] = { FE_GUEST, FE_MEM, FE_USER, 0 },
	};

	say(VHOST_USER_SET_MEM_TABLE, &t, 8 + 32, p.f.memfd);
}

static void say_config(void)
{
	static const uint32_t q[3 + 15] = { 0, 60, 0 };

	say(VHOST_USER_GET_CONFIG, q, sizeof(q), -1);
	fe_expect(&p.f, VHOST_USER_GET_CONFIG, sizeof(q));
}

static void say_channel(void)
{
	int sv[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	say(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, sv[1]);
	close(sv[1]);
	p.channel = sv[0];
	vhu_sock_init(&p.back, sv[0]);
}

static void say_inflight(void)
{
	struct vhu_inflight in = { .nr_queues = QUEUES, .queue_size = FE_RING };

	if (p.inflight_fd < 0) {
		fe_send(&p.f, VHOST_USER_GET_INFLIGHT_FD, 0, &in, sizeof(in),
			NULL, 0);
		fe_expect(&p.f, VHOST_USER_GET_INFLIGHT_FD, sizeof(in));
		p.inflight = p.f.in.in.p.inflight;
		p.inflight_fd = vhu_msg_take_fd(&p.f.in.in, 0);
		CHECK_GE(p.inflight_fd, 0);
	}
	say(VHOST_USER_SET_INFLIGHT_FD, &p.inflight, sizeof(p.inflight),
	    p.inflight_fd);
}

/* Pages of the log: of all of memory, from address 0 on. */
static void say_log(void)
{
	struct vhu_log_area a = {
		.size = ((FE_GUEST + FE_MEM) >> 12) / 8,
	};

	if (p.log >= 0)
		close(p.log);
	p.log = memfd_create("log", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(p.log, (off_t)a.size), 0);
	say(VHOST_USER_SET_LOG_BASE, &a, sizeof(a), p.log);
	fe_expect(&p.f, VHOST_USER_SET_LOG_BASE, 8);
}

static void stop(unsigned q)
{
	fe_send_state(&p.f, VHOST_USER_GET_VRING_BASE, q, 0);
	fe_expect(&p.f, VHOST_USER_GET_VRING_BASE, 8);
	CHECK_EQ(p.f.in.in.p.state.index, q);
	CHECK_EQ(p.f.in.in.p.state.num, p.f.q[q].avail_idx - p.resting);
}

/* -- what its driver does ------------------------------------------------- */

static void kick(unsigned q)
{
	if (p.peer->inband)
		say_state(VHOST_USER_VRING_KICK, q, 0);
	else
		fe_kick(&p.f, q);
}

static void expect_call(unsigned q)
{
	if (!p.peer->inband) {
		CHECK_GE(fe_calls(&p.f, q), 1);
		return;
	}
	CHECK_EQ(vhu_sock_recv(&p.back), 1);
	CHECK_EQ(p.back.in.hdr.request, VHOST_USER_BACKEND_VRING_CALL);
	CHECK_EQ(p.back.in.p.state.index, q);
}

static void work(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		while (fe_calls(&p.f, q))
			;
		fe_offer(&p.f, q);
		kick(q);
		CHECK_EQ(p.f.ended, 0);
		CHECK_EQ(fe_used(&p.f, q), p.resting + 1);
		expect_call(q);
	}
	p.resting = 0;
}

static void rest(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		fe_offer(&p.f, q);
		kick(q);
		CHECK_EQ(fe_used(&p.f, q), 0);
	}
	p.resting++;
}

static void again(void)
{
	memset(p.f.mem, 0, FE_MEM);
	for (unsigned q = 0; q < QUEUES; q++)
		p.f.q[q].avail_idx = p.f.q[q].used_seen = 0;
	p.resting = 0;
	if (p.inflight_fd >= 0)
		close(p.inflight_fd);
	p.inflight_fd = -1;
}

/* -- words ---------------------------------------------------------------- */

static void w_owner(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say(VHOST_USER_SET_OWNER, NULL, 0, -1);
}

static void w_reset_owner(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say(VHOST_USER_RESET_OWNER, NULL, 0, -1);
}

static void w_features(unsigned q, unsigned v)
{
	(void)q, (void)v;
	CHECK(fe_get_u64(&p.f, VHOST_USER_GET_FEATURES) & PROTOCOL);
}

static void w_set_features(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_u64(VHOST_USER_SET_FEATURES, MODERN | PROTOCOL, -1);
}

static void w_set_features_plain(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_u64(VHOST_USER_SET_FEATURES, MODERN, -1);
}

static void w_set_features_log(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_u64(VHOST_USER_SET_FEATURES, MODERN | PROTOCOL | LOG_ALL, -1);
}

static void w_protocol(unsigned q, unsigned v)
{
	uint64_t offered = fe_get_u64(&p.f, VHOST_USER_GET_PROTOCOL_FEATURES);

	(void)q, (void)v;
	CHECK_EQ(p.peer->protocol & ~offered, 0);
}

static void w_set_protocol(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_u64(VHOST_USER_SET_PROTOCOL_FEATURES, p.peer->protocol, -1);
	p.agreed = p.peer->protocol & VHU_PF(REPLY_ACK);
}

static void w_set_protocol_ack(unsigned q, unsigned v)
{
	(void)q, (void)v;
	CHECK_EQ(fe_ask(&p.f, VHOST_USER_SET_PROTOCOL_FEATURES,
			&p.peer->protocol, 8, NULL, 0), 0);
}

static void w_queue_num(unsigned q, unsigned v)
{
	(void)q, (void)v;
	CHECK_EQ(fe_get_u64(&p.f, VHOST_USER_GET_QUEUE_NUM), FE_QUEUES);
}

static void w_slots(unsigned q, unsigned v)
{
	(void)q, (void)v;
	CHECK_GE(fe_get_u64(&p.f, VHOST_USER_GET_MAX_MEM_SLOTS), 32);
}

static void w_channel(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_channel();
}

static void w_config(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_config();
}

static void w_inflight(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_inflight();
}

static void w_table(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_table();
}

static void w_add_memory(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_memory(VHOST_USER_ADD_MEM_REG, true, false);
}

static void w_add_more(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_memory(VHOST_USER_ADD_MEM_REG, true, true);
}

/* With a descriptor, as older ones have it. */
static void w_remove_memory(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_memory(VHOST_USER_REM_MEM_REG, true, false);
}

static void w_num(unsigned q, unsigned v)
{
	(void)v;
	say_state(VHOST_USER_SET_VRING_NUM, q, FE_RING);
}

static void w_base(unsigned q, unsigned v)
{
	(void)v;
	say_state(VHOST_USER_SET_VRING_BASE, q, p.f.q[q].used_seen);
}

static void w_base_avail(unsigned q, unsigned v)
{
	(void)v;
	say_state(VHOST_USER_SET_VRING_BASE, q, p.f.q[q].avail_idx);
}

static void w_addr(unsigned q, unsigned v)
{
	(void)v;
	say_addr(q, false);
}

static void w_addr_log(unsigned q, unsigned v)
{
	(void)v;
	say_addr(q, true);
}

static void w_kick(unsigned q, unsigned v)
{
	(void)v;
	say_u64(VHOST_USER_SET_VRING_KICK, q, p.f.q[q].kick_fd);
}

static void w_call(unsigned q, unsigned v)
{
	(void)v;
	say_u64(VHOST_USER_SET_VRING_CALL, q, p.f.q[q].call_fd);
}

static void w_no_call(unsigned q, unsigned v)
{
	(void)v;
	say_u64(VHOST_USER_SET_VRING_CALL, q | VHU_VRING_NOFD, -1);
}

static void w_setup(unsigned q, unsigned v)
{
	w_num(q, v);
	w_base(q, v);
	w_addr(q, v);
	w_kick(q, v);
	w_call(q, v);
}

static void w_enable(unsigned q, unsigned v)
{
	(void)v;
	say_state(VHOST_USER_SET_VRING_ENABLE, q, 1);
}

static void w_disable(unsigned q, unsigned v)
{
	(void)v;
	say_state(VHOST_USER_SET_VRING_ENABLE, q, 0);
}

static void w_stop(unsigned q, unsigned v)
{
	(void)v;
	stop(q);
}

static void w_status(unsigned q, unsigned v)
{
	(void)q;
	say_u64(VHOST_USER_SET_STATUS, v, -1);
}

static void w_get_status(unsigned q, unsigned v)
{
	(void)q, (void)v;
	CHECK_LT(fe_get_u64(&p.f, VHOST_USER_GET_STATUS), 64);
}

static void w_reset_device(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say(VHOST_USER_RESET_DEVICE, NULL, 0, -1);
}

static void w_log(unsigned q, unsigned v)
{
	(void)q, (void)v;
	say_log();
}

static void w_work(unsigned q, unsigned v)
{
	(void)q, (void)v;
	work();
}

static void w_rest(unsigned q, unsigned v)
{
	(void)q, (void)v;
	rest();
}

static void w_again(unsigned q, unsigned v)
{
	(void)q, (void)v;
	again();
}

static const struct {
	const char *name;
	void (*fn)(unsigned q, unsigned v);
} words[] = {
	{ "owner", w_owner }, { "reset-owner", w_reset_owner },
	{ "features", w_features }, { "set-features", w_set_features },
	{ "set-features-plain", w_set_features_plain },
	{ "set-features-log", w_set_features_log },
	{ "protocol", w_protocol }, { "set-protocol", w_set_protocol },
	{ "set-protocol-ack", w_set_protocol_ack },
	{ "queue-num", w_queue_num }, { "slots", w_slots },
	{ "channel", w_channel }, { "config", w_config },
	{ "inflight", w_inflight }, { "table", w_table },
	{ "add-memory", w_add_memory }, { "add-more", w_add_more },
	{ "remove-memory", w_remove_memory },
	{ "num", w_num }, { "base", w_base }, { "base-avail", w_base_avail },
	{ "addr", w_addr }, { "addr-log", w_addr_log }, { "kick", w_kick },
	{ "call", w_call }, { "no-call", w_no_call }, { "setup", w_setup },
	{ "enable", w_enable }, { "disable", w_disable }, { "stop", w_stop },
	{ "status", w_status }, { "get-status", w_get_status },
	{ "reset-device", w_reset_device }, { "log", w_log },
	{ "work", w_work }, { "rest", w_rest }, { "again", w_again },
};

static void do_word(const char *word)
{
	size_t len = strcspn(word, ":=");
	const char *more = word + len;
	unsigned i, first = 0, last = 0, v = 0;

	if (*more == ':') {
		first = more[1] == '*' ? 0 : (unsigned)(more[1] - '0');
		last = more[1] == '*' ? QUEUES - 1 : first;
	} else if (*more == '=') {
		v = (unsigned)atoi(more + 1);
	}
	for (i = 0; i < VIO_ARRAY_LEN(words); i++) {
		if (strlen(words[i].name) == len &&
		    !strncmp(words[i].name, word, len))
			break;
	}
	if (i == VIO_ARRAY_LEN(words))
		FAIL("no word '%s'", word);
	for (unsigned q = first; q <= last; q++)
		words[i].fn(q, v);
	if (p.f.ended)
		FAIL("%s: '%s' ended it: %s", p.peer->name, word, p.f.log);
}

static void replay(const struct peer *peer)
{
	char line[1024], *save, *word;
	int fds;

	p.peer = peer;
	p.channel = p.log = p.inflight_fd = -1;
	p.agreed = false;
	p.resting = 0;
	CHECK_LT(strlen(peer->says), sizeof(line));
	strcpy(line, peer->says);
	fe_open(&p.f);
	fds = fe_open_fds();
	for (word = strtok_r(line, " ", &save); word;
	     word = strtok_r(NULL, " ", &save))
		do_word(word);
	fe_expect_silence(&p.f);
	CHECK_EQ(p.f.logs, 0);
	if (p.channel >= 0)
		vhu_sock_fini(&p.back);
	if (p.log >= 0)
		close(p.log);
	if (p.inflight_fd >= 0)
		close(p.inflight_fd);
	/* Nothing of it is left when the next one comes. */
	fe_reopen(&p.f);
	CHECK_EQ(fe_open_fds(), fds);
	fe_close(&p.f);
}

/* -- the front ends ------------------------------------------------------- */

#define BASIC	(VHU_PF(MQ) | VHU_PF(REPLY_ACK) | VHU_PF(BACKEND_REQ) | \
		 VHU_PF(CONFIG))
#define QEMU	(BASIC | VHU_PF(LOG_SHMFD) | VHU_PF(INFLIGHT_SHMFD) | \
		 VHU_PF(RESET_DEVICE) | VHU_PF(CONFIGURE_MEM_SLOTS))

#define PEER(name_, protocol_, ack_, inband_, says_)			\
	TEST("vhost orders: " name_, "")				\
	{								\
		static const struct peer peer = {			\
			.name = name_, .protocol = protocol_,		\
			.ack = ack_, .inband = inband_, .says = says_,	\
		};							\
									\
		replay(&peer);						\
	}

PEER("QEMU before 7.2, a network device", VHU_PF(MQ) | VHU_PF(REPLY_ACK),
     false, false,
     "features protocol set-protocol queue-num owner features call:* "
     "enable:0 enable:1 set-features table num:0 base:0 addr:0 kick:0 "
     "call:0 num:1 base:1 addr:1 kick:1 call:1 work disable:* rest "
     "enable:* work stop:* disable:* rest again enable:* set-features "
     "table setup:* work stop:*")

PEER("QEMU before 7.2, a disk: bit 30 is not set", QEMU, false, false,
     "features protocol set-protocol queue-num slots channel owner "
     "features call:* config inflight set-features-plain add-memory "
     "num:0 base:0 addr:0 kick:0 num:1 base:1 addr:1 kick:1 work "
     "stop:* remove-memory rest again inflight set-features-plain "
     "add-memory setup:* work")

PEER("QEMU from 7.2, a disk", QEMU | VHU_PF(STATUS), true, false,
     "features protocol set-protocol queue-num slots channel owner "
     "features call:* config get-status status=1 status=3 inflight "
     "set-features add-memory num:0 base:0 addr:0 kick:0 num:1 base:1 "
     "addr:1 kick:1 enable:* status=15 work call:* work "
     "status=0 disable:* stop:* rest "
     "set-features setup:* enable:* status=15 work")

PEER("QEMU from 7.2, migration begins and is given up", QEMU, true, false,
     "features protocol set-protocol queue-num channel owner features "
     "call:* set-features add-memory setup:* enable:* work "
     "log set-features-log addr-log:* work set-features addr:* work "
     "log set-features-log addr-log:* work disable:* stop:* rest")

PEER("QEMU, the guest resets the device", QEMU, true, false,
     "features protocol set-protocol channel owner features call:* "
     "set-features add-memory setup:* enable:* work disable:* stop:* "
     "reset-device again set-features setup:* enable:* work")

PEER("User Mode Linux, kicks and calls by descriptor",
     VHU_PF(CONFIG) | VHU_PF(BACKEND_REQ) | VHU_PF(REPLY_ACK), false,
     false,
     "owner features protocol set-protocol-ack channel config "
     "set-features set-features-plain table call:0 num:0 base:0 addr:0 "
     "call:1 num:1 base:1 addr:1 kick:* work stop:* again table setup:* "
     "work")

PEER("User Mode Linux, both by message",
     VHU_PF(CONFIG) | VHU_PF(BACKEND_REQ) | VHU_PF(REPLY_ACK) |
     VHU_PF(INBAND_NOTIFICATIONS), false, true,
     "owner features protocol set-protocol-ack channel config "
     "set-features set-features-plain table no-call:0 num:0 base:0 "
     "addr:0 no-call:1 num:1 base:1 addr:1 enable:* work stop:* again "
     "table num:* base:* addr:* work")

PEER("DPDK's virtio-user", VHU_PF(MQ) | VHU_PF(REPLY_ACK) | VHU_PF(STATUS),
     false, false,
     "owner features protocol set-protocol call:* set-features status=11 "
     "get-status get-status table num:0 base:0 addr:0 kick:0 num:1 base:1 "
     "addr:1 kick:1 enable:* status=15 work disable:* rest enable:* work "
     "disable:* stop:* rest again call:* set-features status=11 table setup:* "
     "enable:* status=15 work")

PEER("Cloud Hypervisor", QEMU, true, false,
     "owner features protocol set-protocol queue-num config set-features "
     "table num:* inflight addr:0 base-avail:0 call:0 kick:0 addr:1 "
     "base-avail:1 call:1 kick:1 enable:* channel work disable:* rest "
     "enable:* work add-more work")

PEER("Cloud Hypervisor, a reset: rings are disabled, not stopped", QEMU,
     true, false,
     "owner features protocol set-protocol queue-num set-features table "
     "num:* addr:0 base-avail:0 call:0 kick:0 addr:1 base-avail:1 call:1 "
     "kick:1 enable:* work disable:* rest again set-features table num:* "
     "addr:0 base-avail:0 call:0 kick:0 addr:1 base-avail:1 call:1 "
     "kick:1 enable:* work")

PEER("crosvm", BASIC, false, false,
     "owner features protocol set-protocol channel queue-num config "
     "set-features table num:0 addr:0 base:0 call:0 kick:0 enable:0 "
     "num:1 addr:1 base:1 call:1 kick:1 enable:1 work disable:0 stop:0 "
     "disable:1 stop:1 rest again set-features table setup:* enable:* "
     "work")

PEER("SPDK's initiator: enables first, features before the protocol's",
     VHU_PF(MQ) | VHU_PF(CONFIG), false, false,
     "owner features set-features protocol set-protocol config enable:* "
     "queue-num call:* table features num:0 base:0 addr:0 kick:0 num:1 "
     "base:1 addr:1 kick:1 work stop:* table features again features "
     "set-features protocol set-protocol enable:* queue-num call:* table "
     "features setup:* work")

PEER("a front end that reconnects and negotiates nothing anew",
     VHU_PF(MQ) | VHU_PF(REPLY_ACK), false, false,
     "owner set-protocol-ack features set-features table setup:* enable:* "
     "work reset-owner work stop:*")
