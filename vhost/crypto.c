/* SPDX-License-Identifier: MIT */
/*
 * vhost/crypto.c - sessions of a crypto device that are made by messages. What
 * describes a session is between the front end and the program: peers differ
 * in it, but for its first eight bytes, which are the session's number in the
 * answer.
 */
#include "server.h"

#include <errno.h>
#include <string.h>

int vhu_on_crypto_create(struct vhu_server *s, struct vhu_msg *msg)
{
	uint32_t len = msg->hdr.size;
	int64_t id = s->conf.env->crypto_create(s->conf.env_ctx, msg->p.bytes,
						len);

	if (id < 0)
		vhu_say(s, VIO_LOG_ERROR,
			"the device refuses to make this crypto session",
			{ "errno", (uint64_t)-id }, { "bytes", len });
	memcpy(s->out.p.bytes, msg->p.bytes, len);
	memcpy(s->out.p.bytes, &id, sizeof(id));
	return vhu_reply(s, msg, len);
}

int vhu_on_crypto_close(struct vhu_server *s, struct vhu_msg *msg)
{
	int err = s->conf.env->crypto_close(s->conf.env_ctx, msg->p.u64);

	if (err)
		vhu_say(s, VIO_LOG_ERROR,
			"front end ends a crypto session that there is not",
			{ "session", msg->p.u64 });
	return err;
}
