/* SPDX-License-Identifier: MIT */
/*
 * The record of a vhost-user session: events in a pcapng file, link type
 * USER0. vireo-tap(1) describes the format. It knows how events are written
 * down, not how one comes to know of them.
 *
 * A file may come from anybody: its reader believes no length.
 */
#ifndef HOST_TAPFILE_H
#define HOST_TAPFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <vireo/vhu_msg.h>

#include "host/ringdiag.h"

enum tap_kind {
	TAP_MESSAGE = 1,
	TAP_AVAIL = 2,		/* the driver made a buffer available */
	TAP_USED = 3,		/* the device used one */
	TAP_KICK = 4,
	TAP_CALL = 5,
	TAP_BEGIN = 6,		/* a front end came */
	TAP_END = 7,		/* a side left; the text says which */
	TAP_STATE = 8,		/* of a ring */
	TAP_NOTE = 9,		/* a remark on a ring, a diagnosis */
	TAP_KINDS
};

#define TAP_FD_NAME	32u	/* bytes of a descriptor's name, with its 0 */
#define TAP_TEXT_MAX	255u
#define TAP_NO_QUEUE	0xffffu

struct tap_event {
	uint64_t ns;		/* since 1970 */
	uint32_t session;
	uint8_t kind;
	bool from_back;		/* messages: from the back end */
	bool back_channel;	/* messages: the back end's own requests */
	uint16_t queue;
	/* AVAIL, USED */
	uint32_t head;		/* packed: the buffer's id */
	uint32_t position;	/* split: index; packed: position */
	uint32_t descriptors;
	uint32_t read_len, write_len;	/* AVAIL */
	uint32_t used_len;	/* USED */
	uint64_t age_ns;	/* USED: since it was available; 0: unknown */
	struct ring_state state;	/* STATE */
	char text[TAP_TEXT_MAX + 1];	/* NOTE, END */
	/* MESSAGE: hdr, payload, nr_fds; descriptors by name alone. */
	struct vhu_msg msg;
	char fd_name[VHU_FDS_MAX][TAP_FD_NAME];
};

/* The longest event as bytes. */
#define TAP_BYTES_MAX	(16u + sizeof(struct vhu_hdr) + VHU_PAYLOAD_MAX + \
			 VHU_FDS_MAX * TAP_FD_NAME)

/* An event as bytes: how many. @out has room for TAP_BYTES_MAX. */
size_t tap_encode(const struct tap_event *e, unsigned char *out);
/* The opposite; ns stays. False: no event. */
bool tap_decode(struct tap_event *e, const unsigned char *in, size_t len);

/* One line for people, with its end. @start: what time counts from. */
void tap_print(FILE *to, const struct tap_event *e, uint64_t start_ns);

/* -- files ---------------------------------------------------------------- */

/* Write the file's head. False: errno says why. */
bool tap_file_begin(FILE *f);
bool tap_file_put(FILE *f, const struct tap_event *e);

struct tap_reader {
	FILE *f;
	unsigned char *block;	/* room for one */
	uint64_t skipped;	/* packets that are no events */
};

/* 0, or -errno: -EILSEQ, it is no such file. */
int tap_reader_open(struct tap_reader *r, const char *path);
void tap_reader_close(struct tap_reader *r);
/* The next event: 1, 0 at the end, -errno; -EILSEQ: cut off or spoilt. */
int tap_reader_next(struct tap_reader *r, struct tap_event *e);

#endif
