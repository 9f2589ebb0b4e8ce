/* SPDX-License-Identifier: MIT */
/* The message table: every number has a rule, every rule is enforced. */
#include "vtest.h"

#include <string.h>
#include <vireo/vhu_msg.h>

static struct vhu_msg msg;
/* Nothing lacks, whatever a message needs. */
static const struct vhu_session all = { UINT64_MAX, UINT64_MAX, UINT8_MAX };

TEST("every number of the protocol has a name", "")
{
	CHECK(vhu_rule(0) == NULL);
	for (uint32_t r = 1; r < VHU_REQUESTS; r++) {
		if (!vhu_rule(r))
			FAIL("request %u has no rule", r);
	}
	CHECK(vhu_rule(VHU_REQUESTS) == NULL);
	CHECK(vhu_rule(UINT32_MAX) == NULL);
	CHECK_STREQ(vhu_rule(5)->name, "SET_MEM_TABLE");
	CHECK_STREQ(vhu_rule(44)->name, "GET_SHMEM_CONFIG");
	CHECK_STREQ(vhu_rule(45)->name, "GET_VRING_BASE_SKIP_DRAIN");

	CHECK(vhu_backend_rule(0) == NULL);
	for (uint32_t r = 1; r < VHU_BACKEND_REQUESTS; r++) {
		if (!vhu_backend_rule(r))
			FAIL("back-end request %u has no rule", r);
	}
	CHECK(vhu_backend_rule(VHU_BACKEND_REQUESTS) == NULL);
}

/* The rules of both sides, one after the other; NULL after the last. */
static const struct vhu_rule *nth_rule(unsigned i, uint32_t *request)
{
	*request = i + 1;
	if (*request < VHU_REQUESTS)
		return vhu_rule(*request);
	*request = i + 2 - VHU_REQUESTS;
	return vhu_backend_rule(*request);
}

TEST("no rule allows more than a message can hold", "")
{
	const struct vhu_rule *rule;
	uint32_t r;
	unsigned i;

	for (i = 0; (rule = nth_rule(i, &r)); i++) {
		CHECK_LE(rule->min, rule->max);
		CHECK_LE(rule->max, VHU_PAYLOAD_MAX);
		CHECK_LE(rule->fds_min, rule->fds_max);
		CHECK_LE(rule->fds_max, VHU_FDS_MAX);
		CHECK(rule->about[0] != '\0');
	}
	CHECK_EQ(i, VHU_REQUESTS + VHU_BACKEND_REQUESTS - 2);
}

TEST("lengths and descriptors are held to the table, at both ends", "")
{
	const struct vhu_rule *rule;
	uint32_t r;

	for (unsigned i = 0; (rule = nth_rule(i, &r)); i++) {
		vhu_msg_init(&msg, r, 0, rule->min);
		msg.nr_fds = rule->fds_min;
		CHECK_EQ(vhu_check_msg(rule, &msg, &all), VHU_FINE);
		msg.hdr.size = rule->max;
		msg.nr_fds = rule->fds_max;
		CHECK_EQ(vhu_check_msg(rule, &msg, &all), VHU_FINE);
		msg.hdr.size = rule->max + 1u;
		CHECK_EQ(vhu_check_msg(rule, &msg, &all), VHU_BAD_SIZE);
		msg.hdr.size = rule->min - 1u;
		if (rule->min)
			CHECK_EQ(vhu_check_msg(rule, &msg, &all),
				 VHU_BAD_SIZE);
		msg.hdr.size = rule->min;
		msg.nr_fds = rule->fds_max + 1u;
		CHECK_EQ(vhu_check_msg(rule, &msg, &all), VHU_BAD_FDS);
		msg.nr_fds = rule->fds_min - 1u;
		if (rule->fds_min)
			CHECK_EQ(vhu_check_msg(rule, &msg, &all),
				 VHU_BAD_FDS);
	}
}

TEST("a request needs its features, its time, and to be a request", "")
{
	const struct vhu_rule *rule;
	uint32_t r;

	for (unsigned i = 0; (rule = nth_rule(i, &r)); i++) {
		struct vhu_session s = all;

		vhu_msg_init(&msg, r, 0, rule->min);
		msg.nr_fds = rule->fds_min;
		if (rule->pf >= 0) {
			s.protocol = ~((uint64_t)1 << rule->pf);
			CHECK_EQ(vhu_check_msg(rule, &msg, &s),
				 VHU_NO_FEATURE);
			s.protocol = (uint64_t)1 << rule->pf;
			CHECK_EQ(vhu_check_msg(rule, &msg, &s), VHU_FINE);
		}
		if (rule->vf >= 0) {
			s.features = ~((uint64_t)1 << rule->vf);
			CHECK_EQ(vhu_check_msg(rule, &msg, &s),
				 VHU_NO_VIRTIO_FEATURE);
			s.features = (uint64_t)1 << rule->vf;
			CHECK_EQ(vhu_check_msg(rule, &msg, &s), VHU_FINE);
		}
		s.when = (unsigned)~rule->when;
		CHECK_EQ(vhu_check_msg(rule, &msg, &s),
			 rule->when ? VHU_BAD_TIME : VHU_FINE);
		s.when = rule->when;
		CHECK_EQ(vhu_check_msg(rule, &msg, &s), VHU_FINE);
		msg.hdr.flags |= VHU_REPLY;
		CHECK_EQ(vhu_check_msg(rule, &msg, &s), VHU_IS_REPLY);
	}
	CHECK_EQ(vhu_check_msg(NULL, &msg, &all), VHU_UNKNOWN);
}

TEST("every fault and every protocol feature has words", "")
{
	for (unsigned i = 0; i <= VHU_IS_REPLY; i++)
		CHECK(strlen(vhu_fault_text((enum vhu_fault)i)) > 1);
	for (unsigned i = 0; i < VHU_PROTOCOL_BITS; i++)
		CHECK(vhu_protocol_name(i) != NULL);
	CHECK(vhu_protocol_name(VHU_PROTOCOL_BITS) == NULL);
	CHECK_STREQ(vhu_protocol_name(VHOST_USER_PROTOCOL_F_SHMEM), "SHMEM");
}

static const char *say(uint32_t request, uint32_t flags)
{
	static char text[200];

	msg.hdr.flags |= flags;
	return vhu_msg_text(text, sizeof(text), vhu_rule(request), &msg);
}

TEST("messages in words", "")
{
	char small[4];

	vhu_msg_init(&msg, VHOST_USER_SET_PROTOCOL_FEATURES, 0, 8);
	msg.p.u64 = 9;
	CHECK_STREQ(say(16, 0), "0x9 MQ REPLY_ACK");
	CHECK_STREQ(vhu_msg_text(small, sizeof(small), vhu_rule(16), &msg),
		    "0x9");
	CHECK_STREQ(say(16, VHU_REPLY), "0x9");
	vhu_msg_init(&msg, VHOST_USER_SET_VRING_KICK, 0, 8);
	msg.p.u64 = VHU_VRING_NOFD | 3;
	CHECK_STREQ(say(12, 0), "queue 3, no descriptor");
	vhu_msg_init(&msg, VHOST_USER_SET_VRING_ADDR, 0, 40);
	msg.p.addr = (struct vhu_vring_addr){ 1, VHU_VRING_F_LOG, 0x10, 0x30,
					      0x20, 0x40 };
	CHECK_STREQ(say(9, 0),
		    "queue 1 desc 0x10 avail 0x20 used 0x30 log 0x40");
	/* It says 40 regions, and there is one. */
	vhu_msg_init(&msg, VHOST_USER_SET_MEM_TABLE, 0, 40);
	msg.p.table.nr = 40;
	msg.p.table.region[0] = (struct vhu_region){ 1, 2, 3, 4 };
	CHECK_STREQ(say(5, 0), "40 regions: guest 0x1 size 0x2 user 0x3 "
		    "offset 0x4");
	vhu_msg_init(&msg, VHOST_USER_SET_CONFIG, 0, 14);
	msg.p.config.size = 1000;
	msg.p.config.data[1] = 0xab;
	CHECK_STREQ(say(25, 0), "offset 0 size 1000: 00 ab");
	vhu_msg_init(&msg, VHOST_USER_IOTLB_MSG, 0, 32);
	msg.p.iotlb = (struct vhu_iotlb){ .iova = 0x1000, .size = 0x2000,
		.user_addr = 0x3000, .perm = 3, .type = VHU_IOTLB_UPDATE };
	CHECK_STREQ(say(22, 0), "update 0x1000 size 0x2000 user 0x3000 rw");
	vhu_msg_init(&msg, VHOST_USER_SET_DEVICE_STATE_FD, 0, 8);
	msg.p.transfer.direction = VHU_TRANSFER_LOAD;
	CHECK_STREQ(say(42, 0), "load, phase 0");
	/* Too short for its kind, or of no kind: bytes. */
	vhu_msg_init(&msg, VHOST_USER_SET_VRING_NUM, 0, 2);
	CHECK_STREQ(say(8, 0), "00 00");
	CHECK_STREQ(say(99, 0), "00 00");
}

TEST("messages in words: any payload of any length, within bounds", "")
{
	char out[64];

	for (uint32_t r = 0; r <= VHU_REQUESTS; r++) {
		for (uint32_t size = 0; size <= 64; size++) {
			vhu_msg_init(&msg, r, size & 1 ? VHU_REPLY : 0, size);
			memset(&msg.p, 0xff, sizeof(msg.p));
			memset(out, 'x', sizeof(out));
			vhu_msg_text(out, 33, vhu_rule(r), &msg);
			CHECK_LE(strlen(out), 32);
			CHECK_EQ(out[33], 'x');
		}
	}
}

TEST("a header must be version 1 and of a bounded length", "")
{
	struct vhu_hdr h = { .request = 1, .flags = 1, .size = 0 };

	CHECK_EQ(vhu_check_hdr(&h), VHU_FINE);
	h.flags = VHU_NEED_REPLY | VHU_VERSION;
	CHECK_EQ(vhu_check_hdr(&h), VHU_FINE);
	h.flags = 0;
	CHECK_EQ(vhu_check_hdr(&h), VHU_BAD_VERSION);
	h.flags = 2;
	CHECK_EQ(vhu_check_hdr(&h), VHU_BAD_VERSION);
	h.flags = 3;
	CHECK_EQ(vhu_check_hdr(&h), VHU_BAD_VERSION);
	h.flags = 1;
	h.size = VHU_PAYLOAD_MAX;
	CHECK_EQ(vhu_check_hdr(&h), VHU_FINE);
	h.size++;
	CHECK_EQ(vhu_check_hdr(&h), VHU_TOO_LONG);
	h.size = UINT32_MAX;
	CHECK_EQ(vhu_check_hdr(&h), VHU_TOO_LONG);
}
