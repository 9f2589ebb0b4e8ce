/* SPDX-License-Identifier: MIT */
/* The message table: every number has a rule, every rule is enforced. */
#include "vtest.h"

#include "vhost/msg.h"

static struct vhu_msg msg;

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

	CHECK(vhu_backend_rule(0) == NULL);
	for (uint32_t r = 1; r < VHU_BACKEND_REQUESTS; r++) {
		if (!vhu_backend_rule(r))
			FAIL("back-end request %u has no rule", r);
	}
	CHECK(vhu_backend_rule(VHU_BACKEND_REQUESTS) == NULL);
}

TEST("no rule allows more than a message can hold", "")
{
	for (uint32_t r = 1; r < VHU_REQUESTS; r++) {
		const struct vhu_rule *rule = vhu_rule(r);

		CHECK_LE(rule->min, rule->max);
		CHECK_LE(rule->max, VHU_PAYLOAD_MAX);
		CHECK_LE(rule->fds_min, rule->fds_max);
		CHECK_LE(rule->fds_max, VHU_FDS_MAX);
	}
}

TEST("lengths and descriptors are held to the table, at both ends", "")
{
	for (uint32_t r = 1; r < VHU_REQUESTS; r++) {
		const struct vhu_rule *rule = vhu_rule(r);

		vhu_msg_init(&msg, r, 0, rule->min);
		msg.nr_fds = rule->fds_min;
		CHECK_EQ(vhu_check_msg(rule, &msg, UINT64_MAX), VHU_FINE);
		msg.hdr.size = rule->max;
		msg.nr_fds = rule->fds_max;
		CHECK_EQ(vhu_check_msg(rule, &msg, UINT64_MAX), VHU_FINE);
		msg.hdr.size = rule->max + 1u;
		CHECK_EQ(vhu_check_msg(rule, &msg, UINT64_MAX), VHU_BAD_SIZE);
		if (rule->min) {
			msg.hdr.size = rule->min - 1u;
			CHECK_EQ(vhu_check_msg(rule, &msg, UINT64_MAX),
				 VHU_BAD_SIZE);
		}
		msg.hdr.size = rule->min;
		msg.nr_fds = rule->fds_max + 1u;
		CHECK_EQ(vhu_check_msg(rule, &msg, UINT64_MAX), VHU_BAD_FDS);
		if (rule->fds_min) {
			msg.nr_fds = rule->fds_min - 1u;
			CHECK_EQ(vhu_check_msg(rule, &msg, UINT64_MAX),
				 VHU_BAD_FDS);
		}
	}
}

TEST("a request needs its protocol feature", "")
{
	const struct vhu_rule *rule = vhu_rule(VHOST_USER_ADD_MEM_REG);

	vhu_msg_init(&msg, VHOST_USER_ADD_MEM_REG, 0, rule->min);
	msg.nr_fds = 1;
	CHECK_EQ(vhu_check_msg(rule, &msg, 0), VHU_NO_FEATURE);
	CHECK_EQ(vhu_check_msg(rule, &msg, ~VHU_PF(CONFIGURE_MEM_SLOTS)),
		 VHU_NO_FEATURE);
	CHECK_EQ(vhu_check_msg(rule, &msg, VHU_PF(CONFIGURE_MEM_SLOTS)),
		 VHU_FINE);
	CHECK_EQ(vhu_check_msg(NULL, &msg, UINT64_MAX), VHU_UNKNOWN);
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
