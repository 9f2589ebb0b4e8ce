/* SPDX-License-Identifier: MIT */
/*
 * Front ends that break the protocol: each mistake is one log line and ends
 * the session, or is answered with failure where the front end asked; the
 * next front end is served, and nothing leaks.
 */
#include "fe.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

static struct fe f;

#define MODERN		(1ull << VIRTIO_F_VERSION_1)
#define PROTOCOL	(1ull << VHOST_USER_F_PROTOCOL_FEATURES)

static void start_over(void)
{
	if (f.s)
		fe_reopen(&f);
	else
		fe_open(&f);
}

/* After whatever happened, a decent front end is served. */
static void serve_next(void)
{
	fe_reopen(&f);
	fe_negotiate(&f, 0, MODERN);
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
}

static void finish(void)
{
	serve_next();
	fe_close(&f);
	f.s = NULL;
}

TEST("vhost wrong: every request at wrong lengths and descriptors", "")
{
	static const unsigned char zero[VHU_PAYLOAD_MAX];
	int before = fe_open_fds();
	int fd[VHU_FDS_MAX];

	for (uint32_t r = 1; r < VHU_REQUESTS; r++) {
		const struct vhu_rule *rule = vhu_rule(r);

		if (rule->min) {
			start_over();
			fe_send(&f, r, 0, zero, rule->min - 1u, NULL, 0);
			CHECK_EQ(f.ended, -EPROTO);
			CHECK_EQ(f.logs, 1);
		}
		start_over();
		fe_send(&f, r, 0, zero, rule->max + 1u, NULL, 0);
		CHECK_EQ(f.ended, -EPROTO);
		if (rule->fds_max < VHU_FDS_MAX) {
			start_over();
			for (unsigned i = 0; i <= rule->fds_max; i++)
				fd[i] = f.memfd;
			fe_send(&f, r, 0, zero, rule->min, fd,
				rule->fds_max + 1u);
			CHECK_EQ(f.ended, -EPROTO);
		}
	}
	finish();
	CHECK_EQ(fe_open_fds(), before);
}

/* What the device lacks, by the table: its feature, or its time. */
static bool is_refused(uint32_t r, uint64_t protocol)
{
	const struct vhu_rule *rule = vhu_rule(r);

	return !rule || r == VHOST_USER_GPU_SET_SOCKET ||
		(rule->pf >= 0 && !(protocol >> rule->pf & 1)) ||
		rule->vf >= 0 || rule->when & ~(unsigned)VHU_WHEN_SUSPENDED;
}

TEST("vhost wrong: every request we do not offer, and unknown ones", "")
{
	static const uint32_t unknown[] = { 0, 1000, UINT32_MAX };
	static const unsigned char zero[VHU_PAYLOAD_MAX];
	uint64_t protocol;
	unsigned refused = 0;

	start_over();
	protocol = fe_get_u64(&f, VHOST_USER_GET_PROTOCOL_FEATURES);
	for (uint32_t i = 0; i < VHU_REQUESTS + VIO_ARRAY_LEN(unknown); i++) {
		uint32_t r = i <= VHU_REQUESTS ? i :
			     unknown[i - VHU_REQUESTS];
		const struct vhu_rule *rule = vhu_rule(r);
		uint32_t size = rule ? rule->min : 0;
		unsigned fds = rule ? rule->fds_min : 0;

		if (!is_refused(r, protocol))
			continue;
		refused++;
		start_over();
		fe_send(&f, r, 0, zero, size, &f.memfd, fds);
		CHECK_EQ(f.ended, -EPROTO);
		CHECK_EQ(f.logs, 1);
		/* One that asks is told, and may go on. */
		start_over();
		if (rule && rule->reply)
			continue;
		CHECK_EQ(fe_ask(&f, r, zero, size, &f.memfd, fds), 1);
		CHECK_EQ(f.ended, 0);
	}
	CHECK_GE(refused, 5);
	finish();
}

TEST("vhost wrong: garbage, replies, half messages", "")
{
	struct vhu_hdr h = { VHOST_USER_GET_FEATURES, VHU_VERSION, 0 };

	start_over();
	h.flags = 0;
	CHECK_EQ(write(f.sock, &h, sizeof(h)), sizeof(h));
	fe_step(&f);
	CHECK_EQ(f.ended, -EBADMSG);

	start_over();
	h.flags = VHU_VERSION;
	h.size = UINT32_MAX;
	CHECK_EQ(write(f.sock, &h, sizeof(h)), sizeof(h));
	fe_step(&f);
	CHECK_EQ(f.ended, -EMSGSIZE);

	start_over();
	fe_send(&f, VHOST_USER_SET_OWNER, VHU_REPLY, NULL, 0, NULL, 0);
	CHECK_EQ(f.ended, -EPROTO);

	/* Half a message holds nobody up, and does not leak on the way out. */
	start_over();
	h.size = 8;
	CHECK_EQ(write(f.sock, &h, 7), 7);
	fe_step(&f);
	CHECK_EQ(f.ended, 0);
	shutdown(f.sock, SHUT_WR);
	fe_step(&f);
	CHECK_EQ(f.ended, -EPIPE);
	finish();
}

TEST("vhost wrong: queues that are not there", "")
{
	static const uint32_t with_state[] = {
		VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE,
		VHOST_USER_GET_VRING_BASE, VHOST_USER_SET_VRING_ENABLE,
		VHOST_USER_VRING_KICK,
	};
	static const uint32_t index[] = { FE_QUEUES, 255, 256, UINT32_MAX };
	struct vhu_vring_addr a = { 0 };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(index); i++) {
		for (unsigned k = 0; k < VIO_ARRAY_LEN(with_state); k++) {
			start_over();
			fe_send_state(&f, with_state[k], index[i], 1);
			CHECK_EQ(f.ended, -EINVAL);
		}
		start_over();
		a.index = index[i];
		fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL,
			0);
		CHECK_EQ(f.ended, -EINVAL);
		for (uint32_t r = VHOST_USER_SET_VRING_KICK;
		     r <= VHOST_USER_SET_VRING_ERR; r++) {
			start_over();
			fe_send_fd(&f, r, index[i], f.memfd);
			CHECK_EQ(f.ended, -EINVAL);
		}
	}
	finish();
}

TEST("vhost wrong: descriptor and flag contradict each other", "")
{
	for (uint32_t r = VHOST_USER_SET_VRING_KICK;
	     r <= VHOST_USER_SET_VRING_ERR; r++) {
		start_over();
		fe_send_fd(&f, r, VHU_VRING_NOFD, f.memfd);
		CHECK_EQ(f.ended, -EINVAL);
		start_over();
		fe_send_u64(&f, r, 0);
		CHECK_EQ(f.ended, -EINVAL);
		start_over();
		fe_send_fd(&f, r, 1ull << 63, f.memfd);
		CHECK_EQ(f.ended, -EINVAL);
	}
	finish();
}

TEST("vhost wrong: sizes, bases, switches, status out of range", "")
{
	static const uint32_t num[] = { 0, 3, 24, 512, 65536, UINT32_MAX };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(num); i++) {
		start_over();
		fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, num[i]);
		CHECK_EQ(f.ended, -EINVAL);
		CHECK_EQ(f.logs, 1);
	}
	start_over();
	fe_send_state(&f, VHOST_USER_SET_VRING_BASE, 0, 65536);
	CHECK_EQ(f.ended, -EINVAL);
	start_over();
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 2);
	CHECK_EQ(f.ended, -EINVAL);
	start_over();
	fe_send_u64(&f, VHOST_USER_SET_STATUS, 256);
	CHECK_EQ(f.ended, -EINVAL);
	finish();
}

TEST("vhost wrong: features and protocol features that nobody offered", "")
{
	uint64_t offered;

	start_over();
	offered = fe_get_u64(&f, VHOST_USER_GET_FEATURES);
	for (unsigned b = 0; b < 64; b++) {
		if (offered >> b & 1)
			continue;
		start_over();
		fe_send_u64(&f, VHOST_USER_SET_FEATURES,
			    MODERN | 1ull << b);
		CHECK_EQ(f.ended, -EINVAL);
	}
	start_over();
	offered = fe_get_u64(&f, VHOST_USER_GET_PROTOCOL_FEATURES);
	for (unsigned b = 0; b < 64; b++) {
		if (offered >> b & 1)
			continue;
		start_over();
		fe_send_u64(&f, VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << b);
		CHECK_EQ(f.ended, -EINVAL);
	}
	finish();
}

TEST("vhost wrong: rings outside of memory, misaligned", "")
{
	struct vhu_vring_addr a = { 0 };

	/* Each part in turn at a wrong place. */
	for (unsigned part = 0; part < 6; part++) {
		uint64_t at[3] = { FE_USER, FE_USER + 0x1000,
				   FE_USER + 0x2000 };

		start_over();
		fe_negotiate(&f, 0, MODERN);
		fe_send_memory(&f);
		fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
		at[part % 3] = part < 3 ? FE_USER + FE_MEM - 1 : at[part % 3] +
			1;
		a.desc = at[0];
		a.avail = at[1];
		a.used = at[2];
		fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL,
			0);
		fe_send_kick_fd(&f, 0);
		CHECK_EQ(f.ended, -EINVAL);
		CHECK_EQ(f.logs, 1);
	}
	finish();
}

TEST("vhost wrong: descriptors in a message that takes none are closed", "")
{
	int before;
	int fd[VHU_FDS_MAX];

	start_over();
	before = fe_open_fds();
	for (unsigned i = 0; i < VHU_FDS_MAX; i++)
		fd[i] = f.memfd;
	for (int i = 0; i < 100; i++)
		CHECK_EQ(fe_ask(&f, VHOST_USER_SET_OWNER, NULL, 0, fd,
				VHU_FDS_MAX), 1);
	CHECK_EQ(fe_open_fds(), before);
	/* The same descriptors set again and again replace each other. */
	for (int i = 0; i < 100; i++) {
		fe_send_kick_fd(&f, 0);
		fe_send_call_fd(&f, 0);
		fe_send_fd(&f, VHOST_USER_SET_VRING_ERR, 0, f.q[0].call_fd);
		fe_send(&f, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0,
			&f.sock, 1);
	}
	CHECK_EQ(f.ended, 0);
	CHECK_LE(fe_open_fds(), before + 4);
	finish();
}
