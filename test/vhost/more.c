/* SPDX-License-Identifier: MIT */
/*
 * Protocol features that concern few front ends: guest-physical addresses of
 * rings, the byte order of legacy ones, what net devices are told.
 */
#include "fe.h"

#include <errno.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

static struct fe f;

#define BIT(n)		(1ull << (n))
#define MODERN		BIT(VIRTIO_F_VERSION_1)
#define PROTOCOL	BIT(VHOST_USER_F_PROTOCOL_FEATURES)

static void send_addr(uint64_t base)
{
	struct vhu_vring_addr a = {
		.desc = base, .avail = base + 0x1000, .used = base + 0x2000,
	};

	fe_send_state(&f, VHOST_USER_SET_VRING_NUM, 0, FE_RING);
	fe_send(&f, VHOST_USER_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	fe_send_kick_fd(&f, 0);
}

TEST("vhost more: rings at guest-physical addresses", "")
{
	struct vhu_mem_table t = {
		.nr = 1, .region[0] = { FE_GUEST, FE_MEM, FE_GUEST, 0 },
	};
	static const uint64_t wrong[] = {
		FE_USER, FE_GUEST - 0x1000, FE_GUEST + FE_MEM - 0x2000,
		UINT64_MAX - 0x2fff,
	};

	fe_open(&f);
	fe_negotiate(&f, VHU_PF(GPA_ADDRESSES), MODERN | PROTOCOL);
	fe_send(&f, VHOST_USER_SET_MEM_TABLE, 0, &t, 8 + 32, &f.memfd, 1);
	send_addr(FE_GUEST);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(wrong); i++) {
		fe_reopen(&f);
		fe_negotiate(&f, VHU_PF(GPA_ADDRESSES), MODERN | PROTOCOL);
		fe_send_memory(&f);
		send_addr(wrong[i]);
		CHECK_EQ(f.ended, -EINVAL);
		CHECK_EQ(f.logs, 1);
	}
	/* Without it they are the front end's. */
	fe_reopen(&f);
	fe_negotiate(&f, 0, MODERN | PROTOCOL);
	fe_send_memory(&f);
	send_addr(FE_GUEST);
	CHECK_EQ(f.ended, -EINVAL);
	fe_close(&f);
}

/* -- a big-endian guest ---------------------------------------------------- */

static void put(size_t at, uint64_t v, unsigned bytes, bool big)
{
	for (unsigned i = 0; i < bytes; i++)
		f.mem[at + (big ? bytes - 1 - i : i)] =
			(unsigned char)(v >> 8 * i);
}

static void run_legacy(bool big)
{
	put(0, FE_GUEST + 0x3000, 8, big);
	put(8, 16, 4, big);
	put(12, VIRTQ_DESC_F_WRITE, 2, big);
	put(0x1000 + 4, 0, 2, big);
	put(0x1000 + 2, 1, 2, big);
	fe_kick(&f, 0);
	CHECK_EQ(f.ended, 0);
	CHECK_EQ(f.mem[0x2000 + 2 + big], 1);
	CHECK_EQ(f.mem[0x2000 + 2 + !big], 0);
	CHECK_EQ(f.mem[0x2000 + 8 + (big ? 3 : 0)], sizeof(FE_ANSWER));
	CHECK_MEMEQ(f.mem + 0x3000, FE_ANSWER, sizeof(FE_ANSWER));
}

TEST("vhost more: a legacy ring in either byte order", "")
{
	fe_open(&f);
	for (unsigned big = 0; big < 2; big++) {
		fe_negotiate(&f, VHU_PF(CROSS_ENDIAN), PROTOCOL);
		fe_send_memory(&f);
		for (unsigned q = 0; q < FE_QUEUES; q++)
			fe_send_state(&f, VHOST_USER_SET_VRING_ENDIAN, q,
				      big);
		send_addr(FE_USER);
		/* Told again with another ring, as QEMU does. */
		fe_send_state(&f, VHOST_USER_SET_VRING_ENDIAN, 1, big);
		fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
		run_legacy(big);
		/* Not while it runs. */
		fe_send_state(&f, VHOST_USER_SET_VRING_ENDIAN, 1, !big);
		CHECK_EQ(f.ended, -EINVAL);
		fe_reopen(&f);
	}
	fe_send_state(&f, VHOST_USER_SET_VRING_ENDIAN, 0, 2);
	CHECK_EQ(f.ended, -EINVAL);
	/* The next front end says nothing, and has this machine's. */
	fe_reopen(&f);
	fe_negotiate(&f, 0, PROTOCOL);
	fe_send_memory(&f);
	send_addr(FE_USER);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	run_legacy(VIO_MACHINE_BIG);
	fe_close(&f);
}

/* -- a net device ---------------------------------------------------------- */

static unsigned mtu;
static uint8_t mac[6];

static int set_mtu(void *env, uint16_t to)
{
	(void)env;
	if (to > 9000)
		return -ERANGE;
	mtu = to;
	return 0;
}

static int send_rarp(void *env, const uint8_t of[6])
{
	(void)env;
	memcpy(mac, of, sizeof(mac));
	return 0;
}

static const struct vhu_env_ops net_env = {
	.set_mtu = set_mtu, .send_rarp = send_rarp,
};

TEST("vhost more: a net device is told the MTU and where the guest is", "")
{
	static const uint64_t wrong[] = { 0, 9001, 65536, UINT64_MAX };
	static const uint8_t here[8] = { 2, 0, 0, 1, 2, 3 };
	uint64_t v = 1500;

	fe_open_in(&f, &net_env);
	fe_negotiate(&f, VHU_PF(MTU) | VHU_PF(RARP) | VHU_PF(REPLY_ACK),
		     MODERN | PROTOCOL);
	CHECK_EQ(fe_ask(&f, VHOST_USER_NET_SET_MTU, &v, 8, NULL, 0), 0);
	CHECK_EQ(mtu, 1500);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(wrong); i++)
		CHECK_EQ(fe_ask(&f, VHOST_USER_NET_SET_MTU, &wrong[i], 8,
				NULL, 0), 1);
	CHECK_EQ(mtu, 1500);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SEND_RARP, here, 8, NULL, 0), 0);
	CHECK_MEMEQ(mac, here, 6);
	fe_close(&f);
	/* Other devices offer neither. */
	fe_open(&f);
	v = fe_get_u64(&f, VHOST_USER_GET_PROTOCOL_FEATURES);
	CHECK_EQ(v & (VHU_PF(MTU) | VHU_PF(RARP)), 0);
	fe_close(&f);
}

/* -- a crypto device ------------------------------------------------------- */

static unsigned char described[64];
static int crypto_sessions;

static int64_t crypto_create(void *env, const void *what, uint32_t len)
{
	(void)env;
	memcpy(described, what, len < 64 ? len : 64);
	return described[8] ? 7 + crypto_sessions++ : -EINVAL;
}

static int crypto_close(void *env, uint64_t session)
{
	(void)env;
	if (session != 7)
		return -ENOENT;
	crypto_sessions--;
	return 0;
}

static const struct vhu_env_ops crypto_env = {
	.crypto_create = crypto_create, .crypto_close = crypto_close,
};

TEST("vhost more: crypto sessions are made and ended by messages", "")
{
	unsigned char what[600] = { 0 };
	const int64_t *id = (const int64_t *)(const void *)f.in.in.p.bytes;
	uint64_t v = 7;

	what[8] = 1;
	memset(what + 20, 0x5a, sizeof(what) - 20);
	fe_open_in(&f, &crypto_env);
	fe_negotiate(&f, VHU_PF(CRYPTO_SESSION) | VHU_PF(REPLY_ACK),
		     MODERN | PROTOCOL);
	fe_send(&f, VHOST_USER_CREATE_CRYPTO_SESSION, 0, what, sizeof(what),
		NULL, 0);
	fe_expect(&f, VHOST_USER_CREATE_CRYPTO_SESSION, sizeof(what));
	CHECK_EQ(*id, 7);
	CHECK_MEMEQ(f.in.in.p.bytes + 8, what + 8, sizeof(what) - 8);
	CHECK_MEMEQ(described, what, sizeof(described));
	CHECK_EQ(fe_ask(&f, VHOST_USER_CLOSE_CRYPTO_SESSION, &v, 8, NULL, 0),
		 0);
	CHECK_EQ(crypto_sessions, 0);
	v = 8;
	CHECK_EQ(fe_ask(&f, VHOST_USER_CLOSE_CRYPTO_SESSION, &v, 8, NULL, 0),
		 1);
	what[8] = 0;
	fe_send(&f, VHOST_USER_CREATE_CRYPTO_SESSION, 0, what, sizeof(what),
		NULL, 0);
	fe_expect(&f, VHOST_USER_CREATE_CRYPTO_SESSION, sizeof(what));
	CHECK_LT(*id, 0);
	/* Too short for a number. */
	fe_send(&f, VHOST_USER_CREATE_CRYPTO_SESSION, 0, what, 7, NULL, 0);
	CHECK_EQ(f.ended, -EPROTO);
	fe_close(&f);
	fe_open(&f);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_PROTOCOL_FEATURES) &
		 VHU_PF(CRYPTO_SESSION), 0);
	fe_close(&f);
}

TEST("vhost more: memory that Xen maps is refused by name", "")
{
	uint64_t pf = VHU_PF(XEN_MMAP) | VHU_PF(REPLY_ACK);

	fe_open(&f);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_PROTOCOL_FEATURES) &
		 VHU_PF(XEN_MMAP), 0);
	CHECK_EQ(fe_ask(&f, VHOST_USER_SET_PROTOCOL_FEATURES, &pf, 8, NULL, 0),
		 1);
	CHECK(strstr(f.log, "Xen") != NULL);
	/* Nothing of it is in force. */
	fe_negotiate(&f, 0, MODERN | PROTOCOL);
	fe_send_memory(&f);
	CHECK_EQ(f.ended, 0);
	fe_close(&f);
}
