/* SPDX-License-Identifier: MIT */
/*
 * vhost/sock.h - whole messages over a Unix stream socket, with their file
 * descriptors. It knows how a message is framed, not what it means; both
 * roles use it.
 *
 * Receiving is incremental: a peer that sends half a message and then nothing
 * costs nothing but its socket. Descriptors that come with a message belong
 * to the message; vhu_sock_drop_fds() closes what its handler did not take.
 */
#ifndef VHOST_SOCK_H
#define VHOST_SOCK_H

#include <sys/types.h>
#include <vireo/vhu_msg.h>

struct vhu_sock {
	int fd;			/* owned; -1: none */
	uint32_t have;		/* bytes of in.hdr and in.p received */
	struct vhu_msg in;
};

/*
 * Connect to the Unix stream socket at @path. Returns a descriptor that does
 * not block, or -errno. A program that listens and does not accept is waited
 * for @timeout_ms when its backlog is full; -EAGAIN: that was not enough.
 */
int vhu_sock_connect(const char *path, int timeout_ms);

/* Take ownership of a connected socket. */
void vhu_sock_init(struct vhu_sock *s, int fd);

/* Close the socket and every descriptor not taken. Idempotent. */
void vhu_sock_fini(struct vhu_sock *s);

/*
 * vhu_sock_recv() - get on with receiving; never blocks.
 * Returns
 *   1		s->in is a whole message; it stays until the next call, which
 *		closes the descriptors still in it
 *   0		nothing more for now
 *   -ENOTCONN	the peer closed the connection between two messages
 *   -EPIPE	the peer closed it in the middle of a message
 *   -EBADMSG	the header is not one of vhost-user
 *   -EMSGSIZE	the header announces more than any message has
 *   -E2BIG	more than VHU_FDS_MAX descriptors
 *   -errno	as recvmsg() says
 * After an error the stream has no known position: close it.
 */
int vhu_sock_recv(struct vhu_sock *s);

/* Is a part of a message there, but not all of it? */
bool vhu_sock_in_message(const struct vhu_sock *s);

/* Wait until there is something to receive. 1, 0 for time-out, or -errno. */
int vhu_sock_wait(int fd, int timeout_ms);

/* Close the descriptors still in a message. */
void vhu_msg_drop_fds(struct vhu_msg *msg);

/* Take descriptor @i out of a message; -1 if it is not there. */
int vhu_msg_take_fd(struct vhu_msg *msg, unsigned i);

/*
 * vhu_sock_send() - send a whole message with its descriptors, which stay the
 * caller's. A peer that does not read gets @timeout_ms before -ETIMEDOUT.
 */
int vhu_sock_send(int fd, const struct vhu_msg *msg, int timeout_ms);

/*
 * As read() and write(), but pipes and sockets do not wait, whatever the flags
 * of the descriptor are, which the peer may share; of pipes, before Linux 6.4
 * only if they are O_NONBLOCK.
 */
ssize_t vhu_read_now(int fd, void *p, size_t len);
ssize_t vhu_write_now(int fd, const void *p, size_t len);

/* How long a peer may take to make room for a message. */
#define VHU_SEND_TIMEOUT_MS	5000

#endif
