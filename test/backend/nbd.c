/* SPDX-License-Identifier: MIT */
/*
 * An NBD server that fails at each point of a request and of the way to one:
 * in the middle of a reply, with an error, with too little, late. What the
 * disk makes of it: the right status, in the end, and it goes on.
 */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "test/backend/util.h"

enum { SIZE = 1 << 20, LEN = 8192 };

enum fault {
	NONE,
	/* The connection ends ... */
	DIE_UNREAD,		/* ... and the request was not read */
	DIE_IN_REQUEST,		/* ... after its header */
	DIE_SILENT,		/* ... and it was done */
	DIE_IN_HEADER,		/* ... within the reply */
	DIE_IN_DATA,
	WRONG_MAGIC, WRONG_COOKIE,
	LATE,
	DIES,			/* all up to here are survived */
	SAYS_EIO = DIES, SAYS_ENOSPC, SAYS_NOTHING_KNOWN,
	SHORT_DATA, NO_DATA,	/* of structured replies */
	FAULTS
};

static struct {
	unsigned char disk[SIZE];
	char path[64];
	int fd;
	pthread_t thread;
	bool structured;		/* by handshake of this connection */
	atomic_bool offer_structured;
	uint32_t block;			/* what it wants pieces to be of */
	atomic_int fault;		/* once, at the next request */
	atomic_int handshakes;		/* that fail from now on */
	atomic_uint done, connections;
	atomic_uint unfit;		/* commands: pieces of blocks */
} srv;

static bool get(int fd, void *p, size_t n)
{
	return !n || recv(fd, p, n, MSG_WAITALL) == (ssize_t)n;
}

static bool put(int fd, const void *p, size_t n)
{
	return send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

struct __attribute__((packed)) option {
	uint64_t magic;
	uint32_t opt, len;
};

struct __attribute__((packed)) option_reply {
	uint64_t magic;
	uint32_t opt, type, len;
};

struct __attribute__((packed)) command {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie, offset;
	uint32_t len;
};

struct __attribute__((packed)) simple {
	uint32_t magic, error;
	uint64_t cookie;
};

struct __attribute__((packed)) chunk {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie;
	uint32_t len;
};

static bool answer_option(int fd, uint32_t opt, uint32_t type,
			  const void *data, uint32_t len)
{
	struct option_reply r = {
		htobe64(0x3e889045565a9), opt, htobe32(type), htobe32(len)
	};

	return put(fd, &r, sizeof(r)) && put(fd, data, len);
}

static bool handshake(int fd)
{
	/* Flush, FUA, trim, write zeroes. */
	struct __attribute__((packed)) {
		uint16_t type;
		uint64_t size;
		uint16_t flags;
	} info = { 0, htobe64(SIZE), htobe16(1 | 4 | 8 | 32 | 64) };
	struct __attribute__((packed)) {
		uint16_t type;
		uint32_t min, preferred, max;
	} sizes = { htobe16(3), htobe32(srv.block), htobe32(srv.block),
		    htobe32(SIZE) };
	static char data[4096];
	struct option o;
	uint32_t flags;

	srv.structured = false;
	if (!put(fd, "NBDMAGICIHAVEOPT\0\3", 18) || !get(fd, &flags, 4))
		return false;
	while (get(fd, &o, sizeof(o)) && be32toh(o.len) < sizeof(data) &&
	       get(fd, data, be32toh(o.len))) {
		switch (be32toh(o.opt)) {
		case 7:		/* GO */
			if (srv.block)
				answer_option(fd, o.opt, 3, &sizes,
					      sizeof(sizes));
			return answer_option(fd, o.opt, 3, &info,
					     sizeof(info)) &&
				answer_option(fd, o.opt, 1, NULL, 0);
		case 8:		/* STRUCTURED_REPLY */
			srv.structured = atomic_load(&srv.offer_structured);
			answer_option(fd, o.opt, srv.structured ? 1 :
				      0x80000001, NULL, 0);
			break;
		default:
			answer_option(fd, o.opt, 0x80000001, NULL, 0);
		}
	}
	return false;
}

static bool reply_error(int fd, const struct command *c, uint32_t err)
{
	struct simple r = { htobe32(0x67446698), htobe32(err), c->cookie };
	struct chunk h = {
		htobe32(0x668e33ef), htobe16(1), htobe16(32769), c->cookie,
		htobe32(6)
	};
	struct __attribute__((packed)) {
		uint32_t err;
		uint16_t len;
	} e = { htobe32(err), 0 };

	if (!srv.structured)
		return put(fd, &r, sizeof(r));
	return put(fd, &h, sizeof(h)) && put(fd, &e, sizeof(e));
}

/* With @n bytes of data, of which @sent are sent. */
static bool reply(int fd, const struct command *c, uint32_t n, uint32_t sent)
{
	const unsigned char *data = srv.disk + be64toh(c->offset);
	bool read = be16toh(c->type) == 0;
	struct simple r = { htobe32(0x67446698), 0, c->cookie };
	struct chunk h = {
		htobe32(0x668e33ef), htobe16(1), htobe16(n ? 1 : 0),
		c->cookie, htobe32(n ? n + 8 : 0)
	};

	if (!srv.structured || !read)
		return put(fd, &r, sizeof(r)) && put(fd, data, sent);
	return put(fd, &h, sizeof(h)) &&
		(!n || put(fd, &c->offset, 8)) && put(fd, data, sent);
}

static bool wrong_reply(int fd, const struct command *c, enum fault fault)
{
	struct simple r = { htobe32(0x67446698), 0, c->cookie };

	if (fault == WRONG_MAGIC)
		r.magic++;
	else
		r.cookie ^= 1;
	return put(fd, &r, sizeof(r));
}

/* False: the connection is to end. */
static bool serve_one(int fd)
{
	enum fault fault;
	struct command c;
	uint64_t at;
	uint32_t n;
	bool read;

	if (recv(fd, &c, 1, MSG_PEEK) != 1)
		return false;
	fault = (enum fault)atomic_exchange(&srv.fault, NONE);
	if (fault == DIE_UNREAD || !get(fd, &c, sizeof(c)) ||
	    fault == DIE_IN_REQUEST || be16toh(c.type) == 2)
		return false;
	at = be64toh(c.offset);
	read = be16toh(c.type) == 0;
	n = be32toh(c.len);
	if (srv.block && (at | n) % srv.block)
		atomic_fetch_add(&srv.unfit, 1);
	if (be16toh(c.type) == 1 && !get(fd, srv.disk + at, n))
		return false;
	if (fault == SAYS_EIO || fault == SAYS_ENOSPC)
		return reply_error(fd, &c, fault == SAYS_EIO ? 5 : 28);
	if (fault == SAYS_NOTHING_KNOWN)
		return reply_error(fd, &c, 4711);
	/* Trim, write zeroes. */
	if (be16toh(c.type) == 4 || be16toh(c.type) == 6)
		memset(srv.disk + at, 0, n);
	atomic_fetch_add(&srv.done, 1);
	if (fault == DIE_SILENT)
		return false;
	if (fault == DIE_IN_HEADER) {
		put(fd, "\x67\x44\x66", 3);
		return false;
	}
	if (fault == WRONG_MAGIC || fault == WRONG_COOKIE)
		return wrong_reply(fd, &c, fault);
	if (fault == LATE)
		usleep(30000);
	if (fault == SHORT_DATA)
		return reply(fd, &c, n / 2, n / 2);
	if (fault == NO_DATA)
		return reply(fd, &c, 0, 0);
	return reply(fd, &c, read ? n : 0, !read ? 0 : fault == DIE_IN_DATA ?
		     n / 2 : n) && fault != DIE_IN_DATA;
}

static void *serve(void *arg)
{
	int fd;

	(void)arg;
	while ((fd = accept(srv.fd, NULL, NULL)) >= 0) {
		int left = atomic_load(&srv.handshakes);

		atomic_fetch_add(&srv.connections, 1);
		if (left > 0) {
			atomic_fetch_sub(&srv.handshakes, 1);
			put(fd, "NBDMAGICIHAVEOPT\0\3", (size_t)left % 19);
		} else if (handshake(fd)) {
			while (serve_one(fd))
				;
		}
		close(fd);
	}
	return NULL;
}

static struct blkdev *d;
static char uri[128];

static int begin_blocks(bool structured, uint32_t block)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct blkdev_nbd_conf conf = {
		.uri = uri, .num_queues = 1, .reconnect_s = 20,
	};
	int rc;

	memset(&srv, 0, sizeof(srv));
	srv.offer_structured = structured;
	srv.block = block;
	snprintf(srv.path, sizeof(srv.path), "/tmp/vireo-nbd.%d", getpid());
	unlink(srv.path);
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", srv.path);
	strcpy(a.sun_path, srv.path);
	srv.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(bind(srv.fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(listen(srv.fd, 8), 0);
	CHECK_EQ(pthread_create(&srv.thread, NULL, serve, NULL), 0);
	rc = blkdev_nbd_open(&d, &conf);
	if (!rc)
		CHECK_EQ(d->conf.capacity_sectors, SIZE / 512);
	return rc;
}

static int begin(bool structured)
{
	return begin_blocks(structured, 0);
}

static void end(bool opened)
{
	if (opened)
		blkdev_close(d);
	shutdown(srv.fd, SHUT_RDWR);
	pthread_join(srv.thread, NULL);
	close(srv.fd);
	unlink(srv.path);
}

static const uint8_t ops[] = {
	VIO_BLK_READ, VIO_BLK_WRITE, VIO_BLK_FLUSH, VIO_BLK_DISCARD,
	VIO_BLK_WRITE_ZEROES,
};

/* Two segments: as many commands, for a read or write. */
static int go(unsigned op, unsigned char *p)
{
	struct request r;

	request_init(&r, op, op == VIO_BLK_FLUSH ? 0 : 4096,
		     op == VIO_BLK_FLUSH ? 0 : LEN, NULL);
	if (op <= VIO_BLK_WRITE) {
		r.seg[0] = (struct vio_seg){ p, LEN / 2 };
		r.seg[1] = (struct vio_seg){ p + LEN / 2, LEN / 2 };
		r.io.nr_seg = 2;
	}
	return request_run(d, &r);
}

static unsigned char buf[LEN], want[LEN];

/* One fault at a request: what it becomes, and what the disk holds then. */
static void one(struct vtest_rand *rnd, unsigned op, enum fault fault)
{
	bool lost = fault < DIES;

	vtest_fill(rnd, want, LEN);
	memcpy(srv.disk + 4096, want, LEN);
	if (op == VIO_BLK_WRITE)
		vtest_fill(rnd, want, LEN);
	memcpy(buf, want, LEN);
	if (op == VIO_BLK_READ)
		memset(buf, 0, LEN);
	atomic_store(&srv.fault, fault);
	CHECK_EQ(go(op, buf), lost ? VIO_OK : VIO_E_IO);
	CHECK_EQ(atomic_load(&srv.fault), NONE);
	if (lost && op <= VIO_BLK_WRITE) {
		CHECK_MEMEQ(buf, want, LEN);
		CHECK_MEMEQ(srv.disk + 4096, want, LEN);
	}
	if (lost && op >= VIO_BLK_DISCARD) {
		memset(want, 0, LEN);
		CHECK_MEMEQ(srv.disk + 4096, want, LEN);
	}
	/* And it goes on. */
	memset(srv.disk + 4096, 7, LEN);
	CHECK_EQ(go(VIO_BLK_READ, buf), VIO_OK);
	CHECK_EQ(buf[0], 7);
	CHECK_EQ(buf[LEN - 1], 7);
}

static bool makes_sense(unsigned op, enum fault fault, bool structured)
{
	if (fault == DIE_IN_DATA)
		return op == VIO_BLK_READ;
	if (fault == DIE_IN_REQUEST)
		return op == VIO_BLK_WRITE;
	if (fault == SHORT_DATA || fault == NO_DATA)
		return op == VIO_BLK_READ && structured;
	/* What wants no data is alike in all but one. */
	return op <= VIO_BLK_FLUSH || fault == DIE_SILENT || fault >= DIES;
}

static void all(bool structured)
{
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());

	for (unsigned o = 0; o < VIO_ARRAY_LEN(ops); o++)
		for (unsigned f = NONE; f < FAULTS; f++) {
			if (!makes_sense(ops[o], f, structured))
				continue;
			one(&rnd, ops[o], f);
		}
}

TEST("a server that dies, lies or is late at any point of a request", "")
{
	int rc = begin(false);

	if (rc == -EOPNOTSUPP) {
		end(false);
		SKIP("needs libnbd");
	}
	CHECK_EQ(rc, 0);
	all(false);
	end(true);
}

TEST("the same with structured replies, which may be too short", "")
{
	int rc = begin(true);

	if (rc == -EOPNOTSUPP) {
		end(false);
		SKIP("needs libnbd");
	}
	CHECK_EQ(rc, 0);
	CHECK(srv.structured);
	all(true);
	end(true);
}

TEST("a server that dies anywhere in the handshake is tried again", "")
{
	int rc = begin(false);

	if (rc == -EOPNOTSUPP) {
		end(false);
		SKIP("needs libnbd");
	}
	CHECK_EQ(rc, 0);
	for (int n = 1; n < 4; n++) {
		unsigned before = atomic_load(&srv.connections);

		atomic_store(&srv.handshakes, n);
		atomic_store(&srv.fault, DIE_SILENT);
		CHECK_EQ(go(VIO_BLK_READ, buf), VIO_OK);
		CHECK_EQ(atomic_load(&srv.connections), before + n + 1);
	}
	end(true);
}

enum { BIG = 327680 };	/* more than goes through the buffer at once */

/* In pieces that the server does not take. */
static void big(struct request *r, unsigned op, uint64_t at, unsigned char *p)
{
	request_init(r, op, at, BIG, NULL);
	r->seg[0] = (struct vio_seg){ p, 1000 };
	r->seg[1] = (struct vio_seg){ p + 1000, 200001 };
	r->seg[2] = (struct vio_seg){ p + 201001, BIG - 201001 };
	r->io.nr_seg = 3;
	d->ops->io.submit(d, &r->io);
}

/* Two that want the one buffer, in the face of @fault at their second piece */
static void two_big(struct vtest_rand *rnd, unsigned op, enum fault fault,
		    unsigned char *p)
{
	struct request r[2];

	vtest_fill(rnd, p, 2 * BIG);
	if (op == VIO_BLK_READ)
		memcpy(srv.disk, p, 2 * BIG);
	big(&r[0], op, 0, op == VIO_BLK_READ ? p + 2 * BIG : p);
	big(&r[1], op, BIG, op == VIO_BLK_READ ? p + 3 * BIG : p + BIG);
	atomic_store(&srv.fault, fault);
	d->ops->io.commit(d, 0);
	d->ops->io.drain(d, 0);
	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(r[i].result, VIO_OK);
	CHECK_MEMEQ(op == VIO_BLK_READ ? p + 2 * BIG : srv.disk, p, 2 * BIG);
}

TEST("a server of large blocks: pieces of them go through one buffer", "")
{
	static const enum fault faults[] = {
		NONE, DIE_UNREAD, DIE_SILENT, DIE_IN_HEADER, LATE
	};
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	unsigned char *p = calloc(4, BIG);
	int rc = begin_blocks(false, 4096);

	if (rc == -EOPNOTSUPP) {
		end(false);
		free(p);
		SKIP("needs libnbd");
	}
	CHECK_EQ(rc, 0);
	CHECK_EQ(d->conf.blk_size, 4096);
	for (unsigned i = 0; i < VIO_ARRAY_LEN(faults); i++) {
		two_big(&rnd, VIO_BLK_WRITE, faults[i], p);
		two_big(&rnd, VIO_BLK_READ, faults[i], p);
	}
	CHECK_EQ(atomic_load(&srv.unfit), 0);
	/* An error is one request's; the other has its turn. */
	atomic_store(&srv.fault, SAYS_EIO);
	CHECK_EQ(go(VIO_BLK_WRITE, buf), VIO_E_IO);
	two_big(&rnd, VIO_BLK_READ, NONE, p);
	end(true);
	free(p);
}

static void on_time(void *ctx)
{
	loop_stop(ctx);
}

/* Let the loop work for some milliseconds, then leave. */
static void leave_later(struct loop *loop)
{
	struct loop_timer t = { .fn = on_time, .ctx = loop };

	loop_timer_set(loop, &t, 5000000);
	CHECK_EQ(loop_run(loop), 0);
	d->ops->io.leave(d, 0);
}

TEST("a queue that need not wait leaves what waits for a server", "")
{
	int rc = begin(false);
	struct request r[2];
	struct loop loop;

	if (rc == -EOPNOTSUPP) {
		end(false);
		SKIP("needs libnbd");
	}
	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(d->ops->attach(d, 0, &loop), 0);
	/* Late, but there: nothing is given back. */
	atomic_store(&srv.fault, LATE);
	request_init(&r[0], VIO_BLK_WRITE, 0, 512, buf);
	d->ops->io.submit(d, &r[0].io);
	d->ops->io.commit(d, 0);
	d->ops->io.leave(d, 0);
	d->ops->io.drain(d, 0);
	CHECK_EQ(r[0].result, VIO_OK);
	/* It dies, and each later connection does. */
	atomic_store(&srv.handshakes, 1000000);
	atomic_store(&srv.fault, DIE_IN_HEADER);
	for (unsigned i = 0; i < 2; i++) {
		request_init(&r[i], VIO_BLK_WRITE, i * 512, 512, buf);
		d->ops->io.submit(d, &r[i].io);
		d->ops->io.commit(d, 0);
		while (!r[i].done)
			leave_later(&loop);
		CHECK_EQ(r[i].result, VIO_E_AGAIN);
	}
	d->ops->io.drain(d, 0);
	/* It comes back, and the queue goes on. */
	atomic_store(&srv.handshakes, 0);
	CHECK_EQ(go(VIO_BLK_READ, buf), VIO_OK);
	d->ops->detach(d, 0);
	end(true);
	loop_fini(&loop);
}
