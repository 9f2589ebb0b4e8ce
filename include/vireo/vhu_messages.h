/* SPDX-License-Identifier: MIT */
/*
 * vireo/vhu_messages.h - the vhost-user protocol as data: every message and
 * every protocol feature is a row here and nowhere else. Numbers, checks,
 * dispatch, names in logs, the page doc/vhost-user-messages.md and the tests
 * of wrong messages are made from these rows.
 *
 * A row of a message:
 *
 *	X(name, number, payload, fds_min, fds_max, reply, protocol feature,
 *	  virtio feature, when, handler, "what it is for")
 *
 * payload, reply: of VHU_KINDS. NONE as reply: no answer of its own, an
 * acknowledgement where NEED_REPLY asks for one. Features: what the message
 * belongs to, by its name, or ANY. when: what must be so before it may come
 * (VHU_WHEN_*, or'ed), or ALWAYS. handler: a function of the side that
 * receives it, or NULL: refused there.
 *
 * Where the least number of descriptors is 0 though the protocol wants one,
 * the handler can say better what its lack means.
 */
#ifndef VIREO_VHU_MESSAGES_H
#define VIREO_VHU_MESSAGES_H

/* X(name, bit, "what it brings") */
#define VHU_PROTOCOL_FEATURES(X) \
X(MQ, 0, "the number of queues can be asked for") \
X(LOG_SHMFD, 1, "the dirty log is shared memory") \
X(RARP, 2, "a packet can be sent that shows where the guest is now") \
X(REPLY_ACK, 3, "any request can ask for an acknowledgement") \
X(MTU, 4, "the front end tells the MTU") \
X(BACKEND_REQ, 5, "a channel for the back end's own requests") \
X(CROSS_ENDIAN, 6, "the byte order of a legacy ring can be set") \
X(CRYPTO_SESSION, 7, "crypto sessions are made by messages") \
X(PAGEFAULT, 8, "postcopy: missing pages are asked for as they are touched") \
X(CONFIG, 9, "the configuration space lies with the back end") \
X(BACKEND_SEND_FD, 10, "the back end's requests may carry descriptors") \
X(HOST_NOTIFIER, 11, "the guest's notifications go to a page of the back end") \
X(INFLIGHT_SHMFD, 12, "requests in flight are recorded in shared memory") \
X(RESET_DEVICE, 13, "the device can be reset by a message") \
X(INBAND_NOTIFICATIONS, 14, "kicks and calls can be messages") \
X(CONFIGURE_MEM_SLOTS, 15, "memory comes and goes region by region") \
X(STATUS, 16, "the device status is told and asked for") \
X(XEN_MMAP, 17, "memory regions that Xen maps") \
X(SHARED_OBJECT, 18, "buffers can be shared between devices") \
X(DEVICE_STATE, 19, "the device's own state can be moved") \
X(GET_VRING_BASE_INFLIGHT, 20, "a stop may leave requests in the record") \
X(GPA_ADDRESSES, 21, "addresses of rings are guest-physical ones") \
X(SHMEM, 22, "the device has shared memory regions") \
X(GET_VRING_BASE_SKIP_DRAIN, 23, "a stop that does not wait")

/*
 * What a payload can be: X(name, least bytes, most bytes, "its fields").
 * Some compilers pad, so that one or the other length is seen.
 */
#define VHU_KINDS(X) \
X(NONE, 0, 0, "nothing") \
X(SPARE, 0, 8, "nothing, or a number without meaning") \
X(U64, 8, 8, "a number") \
X(FEATURES, 8, 8, "feature bits") \
X(PROTOCOL, 8, 8, "protocol feature bits") \
X(FDINDEX, 8, 8, "queue index; bit 8: no descriptor") \
X(STATE, 8, 8, "queue index, a number") \
X(ADDR, 40, 40, "queue index, flags, places of its three parts, log") \
X(TABLE, 8, 1032, "how many regions, and each: as REGION") \
X(REGION, 8, 40, "guest address, size, user address, offset in its file; " \
  "in postcopy also a number, 0: the answers are known") \
X(LOG, 8, 16, "size and offset of the log") \
X(IOTLB, 26, 32, "I/O address, size, user address, permission, kind") \
X(CONFIG, 12, 4108, "offset, size, flags, bytes") \
X(AREA, 24, 24, "queue index and flag, size, offset") \
X(INFLIGHT, 20, 24, "size, offset, number and size of queues") \
X(UUID, 16, 16, "UUID") \
X(TRANSFER, 8, 8, "direction, phase") \
X(MMAP, 40, 40, "region, offsets in file and region, length, flags") \
X(SHMEM, 8, 2056, "number of regions, their sizes") \
X(CRYPTO, 8, 4096, "a session's number, and what makes it")

/* What has to be so: X(name, bit, "in words"). */
#define VHU_CONDITIONS(X) \
X(SUSPENDED, 0, "all rings are stopped") \
X(ADVISED, 1, "after POSTCOPY_ADVISE") \
X(LISTENING, 2, "after POSTCOPY_LISTEN") \
X(TRANSFER, 3, "after SET_DEVICE_STATE_FD")

/* Requests of the front end. */
#define VHU_FRONT_MESSAGES(X) \
X(GET_FEATURES, 1, NONE, 0, 0, FEATURES, ANY, ANY, ALWAYS, \
  vhu_on_get_features, "which features are there") \
X(SET_FEATURES, 2, FEATURES, 0, 0, NONE, ANY, ANY, ALWAYS, \
  vhu_on_set_features, "which are in force; without bit 30 rings are enabled") \
X(SET_OWNER, 3, NONE, 0, 0, NONE, ANY, ANY, ALWAYS, \
  vhu_on_nothing, "a session begins") \
X(RESET_OWNER, 4, NONE, 0, 0, NONE, ANY, ANY, ALWAYS, \
  vhu_on_nothing, "deprecated; ignored, as is recommended") \
X(SET_MEM_TABLE, 5, TABLE, 0, 32, NONE, ANY, ANY, ALWAYS, \
  vhu_on_mem_table, "all of the guest's memory, a descriptor for each region") \
X(SET_LOG_BASE, 6, LOG, 0, 1, U64, LOG_SHMFD, ANY, ALWAYS, \
  vhu_on_log_base, "where pages that are written to are marked") \
X(SET_LOG_FD, 7, SPARE, 0, 1, NONE, LOG_SHMFD, ANY, ALWAYS, \
  vhu_on_log_fd, "what to signal when a page was marked") \
X(SET_VRING_NUM, 8, STATE, 0, 0, NONE, ANY, ANY, ALWAYS, \
  vhu_on_vring_num, "how many entries a ring has") \
X(SET_VRING_ADDR, 9, ADDR, 0, 0, NONE, ANY, ANY, ALWAYS, \
  vhu_on_vring_addr, "where it lies, and whether writes to it are logged") \
X(SET_VRING_BASE, 10, STATE, 0, 0, NONE, ANY, ANY, ALWAYS, \
  vhu_on_vring_set_base, "where it goes on") \
X(GET_VRING_BASE, 11, STATE, 0, 0, STATE, ANY, ANY, ALWAYS, \
  vhu_on_vring_get_base, "stop it: where did it get") \
X(SET_VRING_KICK, 12, FDINDEX, 0, 1, NONE, ANY, ANY, ALWAYS, \
  vhu_on_vring_kick_fd, "where kicks come from; starts the ring") \
X(SET_VRING_CALL, 13, FDINDEX, 0, 1, NONE, ANY, ANY, ALWAYS, \
  vhu_on_vring_call_fd, "what to signal when buffers were used") \
X(SET_VRING_ERR, 14, FDINDEX, 0, 1, NONE, ANY, ANY, ALWAYS, \
  vhu_on_vring_err_fd, "what to signal when the ring broke") \
X(GET_PROTOCOL_FEATURES, 15, NONE, 0, 0, PROTOCOL, ANY, ANY, ALWAYS, \
  vhu_on_get_protocol, "which protocol features are there") \
X(SET_PROTOCOL_FEATURES, 16, PROTOCOL, 0, 0, NONE, ANY, ANY, ALWAYS, \
  vhu_on_set_protocol, "which of them are in force") \
X(GET_QUEUE_NUM, 17, NONE, 0, 0, U64, MQ, ANY, ALWAYS, \
  vhu_on_get_queue_num, "how many queues there are") \
X(SET_VRING_ENABLE, 18, STATE, 0, 0, NONE, ANY, ANY, ALWAYS, \
  vhu_on_vring_enable, "enable or disable a ring") \
X(SEND_RARP, 19, U64, 0, 0, NONE, RARP, ANY, ALWAYS, \
  vhu_on_rarp, "tell the network that this MAC address is here now") \
X(NET_SET_MTU, 20, U64, 0, 0, NONE, MTU, ANY, ALWAYS, \
  vhu_on_mtu, "the MTU that the guest is shown") \
X(SET_BACKEND_REQ_FD, 21, SPARE, 1, 1, NONE, BACKEND_REQ, ANY, ALWAYS, \
  vhu_on_set_back_fd, "the channel for the back end's own requests") \
X(IOTLB_MSG, 22, IOTLB, 0, 0, U64, ANY, ACCESS_PLATFORM, ALWAYS, \
  vhu_on_iotlb, "a translation, or the end of one") \
X(SET_VRING_ENDIAN, 23, STATE, 0, 0, NONE, CROSS_ENDIAN, ANY, ALWAYS, \
  vhu_on_vring_endian, "the byte order of a legacy ring") \
X(GET_CONFIG, 24, CONFIG, 0, 0, CONFIG, CONFIG, ANY, ALWAYS, \
  vhu_on_get_config, "read the configuration space") \
X(SET_CONFIG, 25, CONFIG, 0, 0, NONE, CONFIG, ANY, ALWAYS, \
  vhu_on_set_config, "write to it") \
X(CREATE_CRYPTO_SESSION, 26, CRYPTO, 0, 0, CRYPTO, CRYPTO_SESSION, ANY, \
  ALWAYS, vhu_on_crypto_create, "make a crypto session") \
X(CLOSE_CRYPTO_SESSION, 27, U64, 0, 0, NONE, CRYPTO_SESSION, ANY, ALWAYS, \
  vhu_on_crypto_close, "end it") \
X(POSTCOPY_ADVISE, 28, NONE, 0, 0, SPARE, PAGEFAULT, ANY, ALWAYS, \
  vhu_on_post_advise, \
  "a migration may need postcopy: give a userfaultfd") \
X(POSTCOPY_LISTEN, 29, NONE, 0, 0, NONE, PAGEFAULT, ANY, ADVISED, \
  vhu_on_post_listen, "from now on pages may be missing") \
X(POSTCOPY_END, 30, NONE, 0, 0, U64, PAGEFAULT, ANY, ADVISED, \
  vhu_on_post_end, "all pages are there") \
X(GET_INFLIGHT_FD, 31, INFLIGHT, 0, 0, INFLIGHT, INFLIGHT_SHMFD, ANY, \
  ALWAYS, vhu_on_get_inflight, \
  "make memory to record requests in flight") \
X(SET_INFLIGHT_FD, 32, INFLIGHT, 1, 1, NONE, INFLIGHT_SHMFD, ANY, ALWAYS, \
  vhu_on_set_inflight, "keep this record, or go on from it") \
X(GPU_SET_SOCKET, 33, SPARE, 1, 1, NONE, ANY, ANY, ALWAYS, \
  NULL, "where a GPU shows its pictures") \
X(RESET_DEVICE, 34, NONE, 0, 0, NONE, RESET_DEVICE, ANY, ALWAYS, \
  vhu_on_reset_device, "put the device back to its beginning") \
X(VRING_KICK, 35, STATE, 0, 0, NONE, INBAND_NOTIFICATIONS, ANY, ALWAYS, \
  vhu_on_vring_kick, "a kick") \
X(GET_MAX_MEM_SLOTS, 36, NONE, 0, 0, U64, CONFIGURE_MEM_SLOTS, ANY, ALWAYS, \
  vhu_on_mem_slots, "how many regions of memory there can be") \
X(ADD_MEM_REG, 37, REGION, 0, 1, NONE, CONFIGURE_MEM_SLOTS, ANY, ALWAYS, \
  vhu_on_mem_add, "one region more") \
X(REM_MEM_REG, 38, REGION, 0, 1, NONE, CONFIGURE_MEM_SLOTS, ANY, ALWAYS, \
  vhu_on_mem_rem, "one region less") \
X(SET_STATUS, 39, U64, 0, 0, NONE, STATUS, ANY, ALWAYS, \
  vhu_on_set_status, "the driver wrote the device status") \
X(GET_STATUS, 40, NONE, 0, 0, U64, STATUS, ANY, ALWAYS, \
  vhu_on_get_status, "read the device status") \
X(GET_SHARED_OBJECT, 41, UUID, 0, 0, SPARE, SHARED_OBJECT, ANY, ALWAYS, \
  vhu_on_get_object, "give the buffer of this name") \
X(SET_DEVICE_STATE_FD, 42, TRANSFER, 1, 1, U64, DEVICE_STATE, ANY, \
  SUSPENDED, vhu_on_state_fd, \
  "write the device's state there, or read it from there") \
X(CHECK_DEVICE_STATE, 43, NONE, 0, 0, U64, DEVICE_STATE, ANY, TRANSFER, \
  vhu_on_state_check, "did that go well") \
X(GET_SHMEM_CONFIG, 44, NONE, 0, 0, SHMEM, SHMEM, ANY, ALWAYS, \
  vhu_on_get_shmem, "which shared memory regions the device has") \
X(GET_VRING_BASE_SKIP_DRAIN, 45, STATE, 0, 0, STATE, \
  GET_VRING_BASE_SKIP_DRAIN, ANY, ALWAYS, vhu_on_vring_skip_drain, \
  "stop a ring at once; what is in flight stays in the record")

/* Requests of the back end, on the channel of SET_BACKEND_REQ_FD. */
#define VHU_BACK_MESSAGES(X) \
X(IOTLB_MSG, 1, IOTLB, 0, 0, NONE, BACKEND_REQ, ACCESS_PLATFORM, ALWAYS, \
  vhu_client_on_iotlb, \
  "a translation is missing, or an access was not permitted") \
X(CONFIG_CHANGE_MSG, 2, NONE, 0, 0, NONE, CONFIG, ANY, ALWAYS, \
  on_config_change, "the configuration space changed") \
X(VRING_HOST_NOTIFIER_MSG, 3, AREA, 0, 1, NONE, HOST_NOTIFIER, ANY, ALWAYS, \
  vhu_client_on_notifier, "map this page as a queue's notification register") \
X(VRING_CALL, 4, STATE, 0, 0, NONE, INBAND_NOTIFICATIONS, ANY, ALWAYS, \
  NULL, "a call") \
X(VRING_ERR, 5, STATE, 0, 0, NONE, INBAND_NOTIFICATIONS, ANY, ALWAYS, \
  NULL, "a ring broke") \
X(SHARED_OBJECT_ADD, 6, UUID, 0, 0, NONE, SHARED_OBJECT, ANY, ALWAYS, \
  on_object_add, "a buffer to share") \
X(SHARED_OBJECT_REMOVE, 7, UUID, 0, 0, NONE, SHARED_OBJECT, ANY, ALWAYS, \
  on_object_remove, "not any more") \
X(SHARED_OBJECT_LOOKUP, 8, UUID, 0, 0, U64, SHARED_OBJECT, ANY, ALWAYS, \
  on_object_lookup, "give the buffer that another device shares") \
X(SHMEM_MAP, 9, MMAP, 1, 1, NONE, SHMEM, ANY, ALWAYS, \
  vhu_client_on_map, "show this to the guest in a shared memory region") \
X(SHMEM_UNMAP, 10, MMAP, 0, 0, NONE, SHMEM, ANY, ALWAYS, \
  vhu_client_on_unmap, "not any more")

#endif
