/* SPDX-License-Identifier: MIT */
/*
 * vireo/vhu_msg.h - the messages of the vhost-user protocol: numbers, payloads,
 * and the rules that every message obeys, made from the rows of
 * vhu_messages.h. Pure: it knows no socket, no file descriptor's meaning, and
 * neither role; whoever looks at messages can use it.
 *
 * All numbers of the protocol are in the machine's own byte order. Numbers
 * and names are those of the protocol's text; SLAVE there became BACKEND.
 */
#ifndef VIREO_VHU_MSG_H
#define VIREO_VHU_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vireo/base.h>
#include <vireo/vhu_messages.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The feature bit that says: there are protocol features. */
#define VHOST_USER_F_PROTOCOL_FEATURES	30
/* The feature bit that turns dirty logging on. */
#define VHOST_F_LOG_ALL			26

enum vhost_user_protocol_feature {
#define VHU_ROW(name, bit, about) VHOST_USER_PROTOCOL_F_##name = (bit),
	VHU_PROTOCOL_FEATURES(VHU_ROW)
#undef VHU_ROW
	VHU_PROTOCOL_BITS			/* one past the last */
};

#define VHU_PF(name)	((uint64_t)1 << VHOST_USER_PROTOCOL_F_##name)

/* Requests of the front end. */
enum vhost_user_request {
#define VHU_ROW(name, nr, ...) VHOST_USER_##name = (nr),
	VHU_FRONT_MESSAGES(VHU_ROW)
#undef VHU_ROW
	VHU_REQUESTS				/* one past the last */
};

/* Requests of the back end, on the channel of SET_BACKEND_REQ_FD. */
enum vhost_user_backend_request {
#define VHU_ROW(name, nr, ...) VHOST_USER_BACKEND_##name = (nr),
	VHU_BACK_MESSAGES(VHU_ROW)
#undef VHU_ROW
	VHU_BACKEND_REQUESTS
};

/* What a payload is. */
enum vhu_kind {
#define VHU_ROW(name, ...) VHU_KIND_##name,
	VHU_KINDS(VHU_ROW)
#undef VHU_ROW
	VHU_KINDS_NR
};

/* What must be so before a request may come. */
enum vhu_when {
	VHU_WHEN_ALWAYS = 0,
#define VHU_ROW(name, bit, about) VHU_WHEN_##name = 1 << (bit),
	VHU_CONDITIONS(VHU_ROW)
#undef VHU_ROW
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
struct vhu_log_area {
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

/* Of IOTLB_MSG, both ways. */
struct vhu_iotlb {
	uint64_t iova;
	uint64_t size;
	uint64_t user_addr;
	uint8_t perm;		/* bit 0: read, bit 1: write */
	uint8_t type;
	uint8_t padding[6];
};

/* vhu_iotlb.type */
#define VHU_IOTLB_MISS		1u
#define VHU_IOTLB_UPDATE	2u
#define VHU_IOTLB_INVALIDATE	3u
#define VHU_IOTLB_ACCESS_FAIL	4u

/* Of VRING_HOST_NOTIFIER_MSG; index as in SET_VRING_KICK. */
struct vhu_area {
	uint64_t index;
	uint64_t size;
	uint64_t offset;
};

/* Of SET_DEVICE_STATE_FD. */
struct vhu_transfer {
	uint32_t direction;
	uint32_t phase;
};

/* vhu_transfer.direction, .phase */
#define VHU_TRANSFER_SAVE	0u
#define VHU_TRANSFER_LOAD	1u
#define VHU_PHASE_STOPPED	0u

/* Its answer: no descriptor comes along. Bits 0 to 7: an error. */
#define VHU_TRANSFER_NOFD	0x100u

/* Of SHMEM_MAP and SHMEM_UNMAP. */
struct vhu_mmap {
	uint8_t shmid;
	uint8_t padding[7];
	uint64_t fd_offset;
	uint64_t shm_offset;
	uint64_t len;
	uint64_t flags;
};

/* vhu_mmap.flags */
#define VHU_MMAP_WRITABLE	1u

/* What GET_SHMEM_CONFIG answers; the index is the region's id. */
#define VHU_SHMEM_REGIONS	256

struct vhu_shmem {
	uint32_t nr;		/* regions that have a size */
	uint32_t padding;
	uint64_t size[VHU_SHMEM_REGIONS];
};

union vhu_payload {
	uint64_t u64;
	struct vhu_vring_state state;
	struct vhu_vring_addr addr;
	struct vhu_mem_table table;
	struct vhu_mem_reg reg;
	struct vhu_config config;
	struct vhu_log_area log;
	struct vhu_inflight inflight;
	struct vhu_iotlb iotlb;
	struct vhu_area area;
	struct vhu_transfer transfer;
	struct vhu_mmap mmap;
	struct vhu_shmem shmem;
	unsigned char uuid[16];
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
VIO_STATIC_ASSERT(offsetof(struct vhu_iotlb, type) == 25, "as on the wire");
VIO_STATIC_ASSERT(sizeof(struct vhu_area) == 24, "as on the wire");
VIO_STATIC_ASSERT(sizeof(struct vhu_mmap) == 40, "as on the wire");
VIO_STATIC_ASSERT(sizeof(struct vhu_shmem) == 2056, "as on the wire");

/* One message; the descriptors are owned by whoever holds the message. */
struct vhu_msg {
	struct vhu_hdr hdr;
	union vhu_payload p;
	int fd[VHU_FDS_MAX];
	unsigned nr_fds;
};

/* What a request must look like, and what its answer is. */
struct vhu_rule {
	const char *name;	/* "GET_FEATURES" */
	const char *about;	/* "which features are there" */
	uint16_t min;		/* bytes of payload */
	uint16_t max;
	uint8_t payload;	/* enum vhu_kind */
	uint8_t reply_payload;	/* likewise; of its own answer */
	uint8_t fds_min;
	uint8_t fds_max;
	bool reply;		/* has an answer of its own */
	int8_t pf;		/* protocol feature that it needs, or -1 */
	int8_t vf;		/* feature that it needs, or -1 */
	uint8_t when;		/* enum vhu_when: all of these */
};

/* The rule of a request, or NULL for a number that the protocol lacks. */
const struct vhu_rule *vhu_rule(uint32_t request);
const struct vhu_rule *vhu_backend_rule(uint32_t request);

/* "MQ" for 0; NULL for a bit that the protocol lacks. */
const char *vhu_protocol_name(unsigned bit);

/* What is wrong with a message. */
enum vhu_fault {
	VHU_FINE,
	VHU_BAD_VERSION,	/* not a vhost-user header: give up */
	VHU_TOO_LONG,		/* longer than any message: give up */
	VHU_UNKNOWN,		/* no such request */
	VHU_BAD_SIZE,		/* wrong payload length for this request */
	VHU_BAD_FDS,		/* wrong number of file descriptors */
	VHU_NO_FEATURE,		/* its protocol feature is not negotiated */
	VHU_NO_VIRTIO_FEATURE,	/* its feature is not negotiated */
	VHU_BAD_TIME,		/* not now: something has to come before */
	VHU_IS_REPLY,		/* a reply that nobody waits for */
};

/* One sentence for the log, saying what is wrong. */
const char *vhu_fault_text(enum vhu_fault fault);

/* Where a session stands, for vhu_check_msg(). */
struct vhu_session {
	uint64_t protocol;	/* features in force */
	uint64_t features;
	unsigned when;		/* enum vhu_when: what is so */
};

/* Check a header before its payload is read: version and bound. */
enum vhu_fault vhu_check_hdr(const struct vhu_hdr *hdr);

/*
 * Check a whole request against its rule, which may be NULL, and the session
 * in which it came.
 */
enum vhu_fault vhu_check_msg(const struct vhu_rule *rule,
			     const struct vhu_msg *msg,
			     const struct vhu_session *session);

/* Make an empty request with @size bytes of payload, all zero. */
void vhu_msg_init(struct vhu_msg *msg, uint32_t request, uint32_t flags,
		  uint32_t size);

/*
 * vhu_msg_text() - a message in words, for people: the fields of its payload,
 * not its name. Cut off to @len bytes with the zero that ends it; never
 * looks beyond msg->hdr.size bytes. @rule may be NULL. Returns @out.
 */
char *vhu_msg_text(char *out, size_t len, const struct vhu_rule *rule,
		   const struct vhu_msg *msg);

#ifdef __cplusplus
}
#endif
#endif
