/* SPDX-License-Identifier: MIT */
/* vhost/msg.c - the rules of all vhost-user messages, and their checks. */
#include "msg.h"

#include <string.h>

/* Sizes of payloads. */
#define NONE	0, 0
#define U64	8, 8
#define STATE	sizeof(struct vhu_vring_state), sizeof(struct vhu_vring_state)
#define ADDR	sizeof(struct vhu_vring_addr), sizeof(struct vhu_vring_addr)
#define TABLE	8, sizeof(struct vhu_mem_table)
#define REGION	sizeof(struct vhu_mem_reg), sizeof(struct vhu_mem_reg)
#define CONFIG	VHU_CONFIG_HDR, sizeof(struct vhu_config)
/* 20 bytes on paper, 24 where a compiler padded it; likewise 26 and 32. */
#define INFLIGHT 20, sizeof(struct vhu_inflight)
#define IOTLB	26, 32
#define ANY	0, VHU_CONFIG_MAX
/* Without LOG_SHMFD a plain number, with it struct vhu_log. */
#define LOG	8, sizeof(struct vhu_log)

#define NOFD	0, 0
#define PF(x)	VHOST_USER_PROTOCOL_F_##x

/*
 * Where a descriptor is missing, the handler can say better what that means,
 * so the least is 0 in some places where the protocol wants one.
 *
 *	name, payload min and max, fds min and max, own reply, needs
 */
static const struct vhu_rule front[VHU_REQUESTS] = {
#define REQ(name, ...)	[VHOST_USER_##name] = { #name, __VA_ARGS__ }
	REQ(GET_FEATURES, NONE, NOFD, true, -1),
	REQ(SET_FEATURES, U64, NOFD, false, -1),
	REQ(SET_OWNER, NONE, NOFD, false, -1),
	REQ(RESET_OWNER, NONE, NOFD, false, -1),
	REQ(SET_MEM_TABLE, TABLE, 0, VHU_FDS_MAX, false, -1),
	REQ(SET_LOG_BASE, LOG, 0, 1, true, PF(LOG_SHMFD)),
	REQ(SET_LOG_FD, 0, 8, 0, 1, false, PF(LOG_SHMFD)),
	REQ(SET_VRING_NUM, STATE, NOFD, false, -1),
	REQ(SET_VRING_ADDR, ADDR, NOFD, false, -1),
	REQ(SET_VRING_BASE, STATE, NOFD, false, -1),
	REQ(GET_VRING_BASE, STATE, NOFD, true, -1),
	REQ(SET_VRING_KICK, U64, 0, 1, false, -1),
	REQ(SET_VRING_CALL, U64, 0, 1, false, -1),
	REQ(SET_VRING_ERR, U64, 0, 1, false, -1),
	REQ(GET_PROTOCOL_FEATURES, NONE, NOFD, true, -1),
	REQ(SET_PROTOCOL_FEATURES, U64, NOFD, false, -1),
	REQ(GET_QUEUE_NUM, NONE, NOFD, true, PF(MQ)),
	REQ(SET_VRING_ENABLE, STATE, NOFD, false, -1),
	REQ(SEND_RARP, U64, NOFD, false, PF(RARP)),
	REQ(NET_SET_MTU, U64, NOFD, false, PF(MTU)),
	REQ(SET_BACKEND_REQ_FD, 0, 8, 1, 1, false, PF(BACKEND_REQ)),
	REQ(IOTLB_MSG, IOTLB, NOFD, true, -1),
	REQ(SET_VRING_ENDIAN, STATE, NOFD, false, PF(CROSS_ENDIAN)),
	REQ(GET_CONFIG, CONFIG, NOFD, true, PF(CONFIG)),
	REQ(SET_CONFIG, CONFIG, NOFD, false, PF(CONFIG)),
	REQ(CREATE_CRYPTO_SESSION, ANY, NOFD, true, PF(CRYPTO_SESSION)),
	REQ(CLOSE_CRYPTO_SESSION, U64, NOFD, false, PF(CRYPTO_SESSION)),
	REQ(POSTCOPY_ADVISE, NONE, NOFD, true, PF(PAGEFAULT)),
	REQ(POSTCOPY_LISTEN, NONE, NOFD, false, PF(PAGEFAULT)),
	REQ(POSTCOPY_END, NONE, NOFD, true, PF(PAGEFAULT)),
	REQ(GET_INFLIGHT_FD, INFLIGHT, NOFD, true, PF(INFLIGHT_SHMFD)),
	REQ(SET_INFLIGHT_FD, INFLIGHT, 1, 1, false, PF(INFLIGHT_SHMFD)),
	REQ(GPU_SET_SOCKET, 0, 8, 1, 1, false, -1),
	REQ(RESET_DEVICE, NONE, NOFD, false, PF(RESET_DEVICE)),
	REQ(VRING_KICK, STATE, NOFD, false, PF(INBAND_NOTIFICATIONS)),
	REQ(GET_MAX_MEM_SLOTS, NONE, NOFD, true, PF(CONFIGURE_MEM_SLOTS)),
	REQ(ADD_MEM_REG, REGION, 0, 1, false, PF(CONFIGURE_MEM_SLOTS)),
	REQ(REM_MEM_REG, REGION, 0, 1, false, PF(CONFIGURE_MEM_SLOTS)),
	REQ(SET_STATUS, U64, NOFD, false, PF(STATUS)),
	REQ(GET_STATUS, NONE, NOFD, true, PF(STATUS)),
	REQ(GET_SHARED_OBJECT, 16, 16, NOFD, true, PF(SHARED_OBJECT)),
	REQ(SET_DEVICE_STATE_FD, U64, 1, 1, true, PF(DEVICE_STATE)),
	REQ(CHECK_DEVICE_STATE, NONE, NOFD, true, PF(DEVICE_STATE)),
	REQ(GET_SHMEM_CONFIG, NONE, NOFD, true, PF(SHMEM)),
#undef REQ
};

static const struct vhu_rule back[VHU_BACKEND_REQUESTS] = {
#define REQ(name, ...)	[VHOST_USER_BACKEND_##name] = { #name, __VA_ARGS__ }
	REQ(IOTLB_MSG, IOTLB, NOFD, false, PF(BACKEND_REQ)),
	REQ(CONFIG_CHANGE_MSG, NONE, NOFD, false, PF(CONFIG)),
	REQ(VRING_HOST_NOTIFIER_MSG, 24, 24, 0, 1, false, PF(HOST_NOTIFIER)),
	REQ(VRING_CALL, STATE, NOFD, false, PF(INBAND_NOTIFICATIONS)),
	REQ(VRING_ERR, STATE, NOFD, false, PF(INBAND_NOTIFICATIONS)),
	REQ(SHARED_OBJECT_ADD, 16, 16, NOFD, false, PF(SHARED_OBJECT)),
	REQ(SHARED_OBJECT_REMOVE, 16, 16, NOFD, false, PF(SHARED_OBJECT)),
	REQ(SHARED_OBJECT_LOOKUP, 16, 16, NOFD, true, PF(SHARED_OBJECT)),
	REQ(SHMEM_MAP, 40, 40, 1, 1, false, PF(SHMEM)),
	REQ(SHMEM_UNMAP, 40, 40, NOFD, false, PF(SHMEM)),
#undef REQ
};

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
			     const struct vhu_msg *msg, uint64_t pf)
{
	if (!rule)
		return VHU_UNKNOWN;
	if (msg->hdr.size < rule->min || msg->hdr.size > rule->max)
		return VHU_BAD_SIZE;
	if (msg->nr_fds < rule->fds_min || msg->nr_fds > rule->fds_max)
		return VHU_BAD_FDS;
	if (rule->pf >= 0 && !(pf >> rule->pf & 1))
		return VHU_NO_FEATURE;
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
