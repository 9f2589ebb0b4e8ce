/* SPDX-License-Identifier: MIT */
/*
 * vhost/msg.c - the rows of vhu_messages.h as rules, and the checks of
 * messages against them.
 */
#include <vireo/vhu_msg.h>

#include <string.h>
#include <vireo/spec/virtio.h>

/* What rows say where nothing is needed. */
enum {
	VHOST_USER_PROTOCOL_F_ANY = -1,
	VIRTIO_F_ANY = -1,
};

/* Lengths of payloads, by kind. */
enum {
#define VHU_ROW(name, min, max, about) \
	LEAST_##name = (min), MOST_##name = (max),
	VHU_KINDS(VHU_ROW)
#undef VHU_ROW
};

#define VHU_ROW(name_, nr_, payload_, fds_min_, fds_max_, reply_, pf_, vf_, \
		when_, handler_, about_)				\
	[nr_] = {							\
		.name = #name_,						\
		.about = about_,					\
		.min = LEAST_##payload_,				\
		.max = MOST_##payload_,					\
		.payload = VHU_KIND_##payload_,				\
		.reply_payload = VHU_KIND_##reply_,			\
		.fds_min = fds_min_,					\
		.fds_max = fds_max_,					\
		.reply = VHU_KIND_##reply_ != VHU_KIND_NONE,		\
		.pf = VHOST_USER_PROTOCOL_F_##pf_,			\
		.vf = VIRTIO_F_##vf_,					\
		.when = VHU_WHEN_##when_,				\
	},

static const struct vhu_rule front[VHU_REQUESTS] = {
	VHU_FRONT_MESSAGES(VHU_ROW)
};

static const struct vhu_rule back[VHU_BACKEND_REQUESTS] = {
	VHU_BACK_MESSAGES(VHU_ROW)
};

#undef VHU_ROW

VIO_STATIC_ASSERT(MOST_TABLE == sizeof(struct vhu_mem_table), "all of it");
VIO_STATIC_ASSERT(MOST_CONFIG == sizeof(struct vhu_config), "all of it");
VIO_STATIC_ASSERT(MOST_REGION == sizeof(struct vhu_mem_reg), "all of it");
VIO_STATIC_ASSERT(MOST_IOTLB == sizeof(struct vhu_iotlb), "all of it");
VIO_STATIC_ASSERT(MOST_INFLIGHT == sizeof(struct vhu_inflight), "all of it");
VIO_STATIC_ASSERT(MOST_SHMEM == sizeof(struct vhu_shmem), "all of it");

static const struct vhu_rule *find(const struct vhu_rule *table, unsigned nr,
				   uint32_t request)
{
	if (request >= nr || !table[request].name)
		return NULL;
	return &table[request];
}

const struct vhu_rule *vhu_rule(uint32_t request)
{
	return find(front, VIO_ARRAY_LEN(front), request);
}

const struct vhu_rule *vhu_backend_rule(uint32_t request)
{
	return find(back, VIO_ARRAY_LEN(back), request);
}

const char *vhu_protocol_name(unsigned bit)
{
	static const char *const names[VHU_PROTOCOL_BITS] = {
#define VHU_ROW(name, bit, about) [bit] = #name,
		VHU_PROTOCOL_FEATURES(VHU_ROW)
#undef VHU_ROW
	};

	return bit < VHU_PROTOCOL_BITS ? names[bit] : NULL;
}

const char *vhu_fault_text(enum vhu_fault fault)
{
	static const char *const text[] = {
		[VHU_FINE] = "fine",
		[VHU_BAD_VERSION] = "not a vhost-user message of version 1",
		[VHU_TOO_LONG] = "message is longer than any of the protocol",
		[VHU_UNKNOWN] = "request is not known",
		[VHU_BAD_SIZE] = "payload has the wrong length",
		[VHU_BAD_FDS] = "wrong number of file descriptors",
		[VHU_NO_FEATURE] =
			"request belongs to a protocol feature that is off",
		[VHU_NO_VIRTIO_FEATURE] =
			"request belongs to a feature that was not negotiated",
		[VHU_BAD_TIME] = "request is out of place now",
		[VHU_IS_REPLY] = "a reply came where a request was due",
	};

	return (unsigned)fault < VIO_ARRAY_LEN(text) ? text[fault] : "?";
}

enum vhu_fault vhu_check_hdr(const struct vhu_hdr *hdr)
{
	if ((hdr->flags & VHU_VERSION_MASK) != VHU_VERSION)
		return VHU_BAD_VERSION;
	if (hdr->size > VHU_PAYLOAD_MAX)
		return VHU_TOO_LONG;
	return VHU_FINE;
}

enum vhu_fault vhu_check_msg(const struct vhu_rule *rule,
			     const struct vhu_msg *msg,
			     const struct vhu_session *session)
{
	if (!rule)
		return VHU_UNKNOWN;
	if (msg->hdr.size < rule->min || msg->hdr.size > rule->max)
		return VHU_BAD_SIZE;
	if (msg->nr_fds < rule->fds_min || msg->nr_fds > rule->fds_max)
		return VHU_BAD_FDS;
	if (rule->pf >= 0 && !(session->protocol >> rule->pf & 1))
		return VHU_NO_FEATURE;
	if (rule->vf >= 0 && !(session->features >> rule->vf & 1))
		return VHU_NO_VIRTIO_FEATURE;
	if (rule->when & ~session->when)
		return VHU_BAD_TIME;
	if (msg->hdr.flags & VHU_REPLY)
		return VHU_IS_REPLY;
	return VHU_FINE;
}

void vhu_msg_init(struct vhu_msg *msg, uint32_t request, uint32_t flags,
		  uint32_t size)
{
	msg->hdr.request = request;
	msg->hdr.flags = VHU_VERSION | flags;
	msg->hdr.size = size;
	msg->nr_fds = 0;
	memset(&msg->p, 0, size <= sizeof(msg->p) ? size : sizeof(msg->p));
}
