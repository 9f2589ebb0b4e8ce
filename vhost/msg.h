/* SPDX-License-Identifier: MIT */
/*
 * vhost/msg.h - the messages of the vhost-user protocol: numbers, payloads,
 * and the rules that every message obeys, as one table. Pure: it knows no
 * socket, no file descriptor's meaning, and neither role.
 *
 * All numbers of the protocol are in the machine's own byte order. Numbers
 * and names are those of the protocol's text; SLAVE there became BACKEND.
 */
#ifndef VHOST_MSG_H
#define VHOST_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vireo/base.h>

/* The feature bit that says: there are protocol features. */
#define VHOST_USER_F_PROTOCOL_FEATURES	30
/* The feature bit that turns dirty logging on. */
#define VHOST_F_LOG_ALL			26

enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ			= 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD			= 1,
	VHOST_USER_PROTOCOL_F_RARP			= 2,
	VHOST_USER_PROTOCOL_F_REPLY_ACK			= 3,
	VHOST_USER_PROTOCOL_F_MTU			= 4,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ		= 5,
	VHOST_USER_PROTOCOL_F_CROSS_ENDIAN		= 6,
	VHOST_USER_PROTOCOL_F_CRYPTO_SESSION		= 7,
	VHOST_USER_PROTOCOL_F_PAGEFAULT			= 8,
	VHOST_USER_PROTOCOL_F_CONFIG			= 9,
	VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD		= 10,
	VHOST_USER_PROTOCOL_F_HOST_NOTIFIER		= 11,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD		= 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE		= 13,
	VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS	= 14,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS	= 15,
	VHOST_USER_PROTOCOL_F_STATUS			= 16,
	VHOST_USER_PROTOCOL_F_XEN_MMAP			= 17,
	VHOST_USER_PROTOCOL_F_SHARED_OBJECT		= 18,
	VHOST_USER_PROTOCOL_F_DEVICE_STATE		= 19,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT	= 20,
	VHOST_USER_PROTOCOL_F_GPA_ADDRESSES		= 21,
	VHOST_USER_PROTOCOL_F_SHMEM			= 22,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN	= 23,
};

#define VHU_PF(name)	((uint64_t)1 << VHOST_USER_PROTOCOL_F_##name)

/* Requests of the front end. */
enum vhost_user_request {
	VHOST_USER_GET_FEATURES			= 1,
	VHOST_USER_SET_FEATURES			= 2,
	VHOST_USER_SET_OWNER			= 3,
	VHOST_USER_RESET_OWNER			= 4,
	VHOST_USER_SET_MEM_TABLE		= 5,
	VHOST_USER_SET_LOG_BASE			= 6,
	VHOST_USER_SET_LOG_FD			= 7,
	VHOST_USER_SET_VRING_NUM		= 8,
	VHOST_USER_SET_VRING_ADDR		= 9,
	VHOST_USER_SET_VRING_BASE		= 10,
	VHOST_USER_GET_VRING_BASE		= 11,
	VHOST_USER_SET_VRING_KICK		= 12,
	VHOST_USER_SET_VRING_CALL		= 13,
	VHOST_USER_SET_VRING_ERR		= 14,
	VHOST_USER_GET_PROTOCOL_FEATURES	= 15,
	VHOST_USER_SET_PROTOCOL_FEATURES	= 16,
	VHOST_USER_GET_QUEUE_NUM		= 17,
	VHOST_USER_SET_VRING_ENABLE		= 18,
	VHOST_USER_SEND_RARP			= 19,
	VHOST_USER_NET_SET_MTU			= 20,
	VHOST_USER_SET_BACKEND_REQ_FD		= 21,
	VHOST_USER_IOTLB_MSG			= 22,
	VHOST_USER_SET_VRING_ENDIAN		= 23,
	VHOST_USER_GET_CONFIG			= 24,
	VHOST_USER_SET_CONFIG			= 25,
	VHOST_USER_CREATE_CRYPTO_SESSION	= 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION		= 27,
	VHOST_USER_POSTCOPY_ADVISE		= 28,
	VHOST_USER_POSTCOPY_LISTEN		= 29,
	VHOST_USER_POSTCOPY_END			= 30,
	VHOST_USER_GET_INFLIGHT_FD		= 31,
	VHOST_USER_SET_INFLIGHT_FD		= 32,
	VHOST_USER_GPU_SET_SOCKET		= 33,
	VHOST_USER_RESET_DEVICE			= 34,
	VHOST_USER_VRING_KICK			= 35,
	VHOST_USER_GET_MAX_MEM_SLOTS		= 36,
	VHOST_USER_ADD_MEM_REG			= 37,
	VHOST_USER_REM_MEM_REG			= 38,
	VHOST_USER_SET_STATUS			= 39,
	VHOST_USER_GET_STATUS			= 40,
	VHOST_USER_GET_SHARED_OBJECT		= 41,
	VHOST_USER_SET_DEVICE_STATE_FD		= 42,
	VHOST_USER_CHECK_DEVICE_STATE		= 43,
	VHOST_USER_GET_SHMEM_CONFIG		= 44,
	VHU_REQUESTS				/* one past the last */
};

/* Requests of the back end, on the channel of SET_BACKEND_REQ_FD. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_IOTLB_MSG			= 1,
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG		= 2,
	VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG	= 3,
	VHOST_USER_BACKEND_VRING_CALL			= 4,
	VHOST_USER_BACKEND_VRING_ERR			= 5,
	VHOST_USER_BACKEND_SHARED_OBJECT_ADD		= 6,
	VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE		= 7,
	VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP		= 8,
	VHOST_USER_BACKEND_SHMEM_MAP			= 9,
	VHOST_USER_BACKEND_SHMEM_UNMAP			= 10,
	VHU_BACKEND_REQUESTS
};

struct vhu_hdr {
	uint32_t request;
	uint32_t flags;
	uint32_t size;		/* of the payload that follows */
};

/* hdr.flags */
#define VHU_VERSION_MASK	0x3u
#define VHU_VERSION		0x1u
#define VHU_REPLY		0x4u	/* this is a reply */
#define VHU_NEED_REPLY		0x8u	/* REPLY_ACK: say how it went */

/* The index of a queue in SET_VRING_{KICK,CALL,ERR}. */
#define VHU_VRING_IDX_MASK	0xffu
#define VHU_VRING_NOFD		0x100u

struct vhu_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vhu_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;		/* the front end's user addresses */
	uint64_t used;
	uint64_t avail;
	uint64_t log;		/* a guest address */
};

/* vhu_vring_addr.flags */
#define VHU_VRING_F_LOG		1u

struct vhu_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};

/*
 * The protocol's text has 8 regions here; some front ends send up to 32, and
 * nothing forbids to take them. More come one by one, by ADD_MEM_REG.
 */
#define VHU_TABLE_REGIONS	32
/* The most regions at a time: what GET_MAX_MEM_SLOTS answers. */
#define VHU_MEM_SLOTS		512

struct vhu_mem_table {
	uint32_t nr;
	uint32_t padding;
	struct vhu_region region[VHU_TABLE_REGIONS];
};

struct vhu_mem_reg {
	uint64_t padding;
	struct vhu_region region;
};

/* The longest configuration space that fits into one message. */
#define VHU_CONFIG_MAX		4096

struct vhu_config {
	uint32_t offset;
	uint32_t size;		/* of data */
	uint32_t flags;
	unsigned char data[VHU_CONFIG_MAX];
};

#define VHU_CONFIG_HDR		offsetof(struct vhu_config, data)

/* vhu_config.flags */
#define VHU_CONFIG_WRITABLE	0u
#define VHU_CONFIG_MIGRATION	1u

/* Of SET_LOG_BASE. */
struct vhu_log {
	uint64_t size;
	uint64_t offset;
};

/* Of GET_INFLIGHT_FD and SET_INFLIGHT_FD. */
struct vhu_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t nr_queues;
	uint16_t queue_size;
};

union vhu_payload {
	uint64_t u64;
	struct vhu_vring_state state;
	struct vhu_vring_addr addr;
	struct vhu_mem_table table;
	struct vhu_mem_reg reg;
	struct vhu_config config;
	struct vhu_log log;
	struct vhu_inflight inflight;
	unsigned char bytes[VHU_CONFIG_MAX + 16];
};

#define VHU_PAYLOAD_MAX		sizeof(union vhu_payload)
/* The most file descriptors that one message may carry. */
#define VHU_FDS_MAX		VHU_TABLE_REGIONS

VIO_STATIC_ASSERT(sizeof(struct vhu_hdr) == 12, "header as on the wire");
VIO_STATIC_ASSERT(sizeof(struct vhu_vring_addr) == 40, "as on the wire");
VIO_STATIC_ASSERT(sizeof(struct vhu_region) == 32, "as on the wire");
VIO_STATIC_ASSERT(offsetof(struct vhu_mem_table, region) == 8,
		  "as on the wire");
VIO_STATIC_ASSERT(offsetof(struct vhu_mem_reg, region) == 8,
		  "as on the wire");
VIO_STATIC_ASSERT(VHU_CONFIG_HDR == 12, "as on the wire");

/* One message; the descriptors are owned by whoever holds the message. */
struct vhu_msg {
	struct vhu_hdr hdr;
	union vhu_payload p;
	int fd[VHU_FDS_MAX];
	unsigned nr_fds;
};

/* What a request must look like. */
struct vhu_rule {
	const char *name;	/* "GET_FEATURES" */
	uint16_t min;		/* bytes of payload */
	uint16_t max;
	uint8_t fds_min;
	uint8_t fds_max;
	bool reply;		/* has an answer of its own */
	int8_t pf;		/* protocol feature that it needs, or -1 */
};

/* The rule of a request, or NULL for a number that the protocol lacks. */
const struct vhu_rule *vhu_rule(uint32_t request);
const struct vhu_rule *vhu_backend_rule(uint32_t request);

/* What is wrong with a message. */
enum vhu_fault {
	VHU_FINE,
	VHU_BAD_VERSION,	/* not a vhost-user header: give up */
	VHU_TOO_LONG,		/* longer than any message: give up */
	VHU_UNKNOWN,		/* no such request */
	VHU_BAD_SIZE,		/* wrong payload length for this request */
	VHU_BAD_FDS,		/* wrong number of file descriptors */
	VHU_NO_FEATURE,		/* its protocol feature is not negotiated */
};

/* One sentence for the log, saying what is wrong. */
const char *vhu_fault_text(enum vhu_fault fault);

/* Check a header before its payload is read: version and bound. */
enum vhu_fault vhu_check_hdr(const struct vhu_hdr *hdr);

/*
 * Check a whole message against its rule. @pf: the protocol features in
 * force. @rule may be NULL.
 */
enum vhu_fault vhu_check_msg(const struct vhu_rule *rule,
			     const struct vhu_msg *msg, uint64_t pf);

/* Make an empty request with @size bytes of payload, all zero. */
void vhu_msg_init(struct vhu_msg *msg, uint32_t request, uint32_t flags,
		  uint32_t size);

#endif
