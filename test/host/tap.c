/* SPDX-License-Identifier: MIT */
/*
 * vireo-tap between our driver and our disk: what it sees is what happened,
 * and it finds a ring that was made to be stuck. And its record's format.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>

#include "host/json.h"
#include "host/ringdiag.h"
#include "host/tapfile.h"
#include "test/host/peer.h"
#include "vtest.h"

static struct peer disk, tap;
static struct front_disk d;
static char record[128], control[128];

static const char *more = "--poll-us=0";	/* of the disk */

static void begin(const char *stuck)
{
	char back[128], to[160], ctl[160];

	peer_init(&disk);
	peer_init(&tap);
	snprintf(control, sizeof(control), "%s/control", disk.dir);
	snprintf(ctl, sizeof(ctl), "--control-path=%s", control);
	PEER_START(&disk, "vireo-blk", "--backend=mem", "--size=4M",
		   "--num-queues=1", "--poll-us=0", ctl, more);
	snprintf(back, sizeof(back), "--back-path=%s", disk.socket);
	snprintf(record, sizeof(record), "%s/record", tap.dir);
	snprintf(to, sizeof(to), "--write=%s", record);
	PEER_START(&tap, "vireo-tap", back, to, stuck);
}

static void end(void)
{
	CHECK_EQ(peer_end(&tap, SIGTERM), 0);
	CHECK_EQ(peer_end(&disk, SIGTERM), 0);
	peer_fini(&tap);
	peer_fini(&disk);
}

/* How many events of a kind, or notes with a text, are in the record. */
static unsigned count(uint8_t kind, const char *text)
{
	static struct tap_event e;
	struct tap_reader r;
	unsigned n = 0;

	CHECK_EQ(tap_reader_open(&r, record), 0);
	while (tap_reader_next(&r, &e) > 0)
		n += e.kind == kind && (!text || strstr(e.text, text));
	tap_reader_close(&r);
	return n;
}

static bool comes(const char *note)
{
	for (unsigned i = 0; i < 600; i++) {
		if (count(TAP_NOTE, note))
			return true;
		poll(NULL, 0, 50);
	}
	return false;
}

static void expect_message(uint32_t request, unsigned fds)
{
	static struct tap_event e;
	struct tap_reader r;
	bool found = false;

	CHECK_EQ(tap_reader_open(&r, record), 0);
	while (tap_reader_next(&r, &e) > 0)
		found |= e.kind == TAP_MESSAGE && !e.from_back &&
			e.msg.hdr.request == request && e.msg.nr_fds == fds;
	tap_reader_close(&r);
	CHECK(found);
}

TEST("every message, kick, call and buffer is in the record, with its age", "")
{
	static struct tap_event e;
	struct tap_reader r;
	unsigned i, used = 0;
	void *data;

	/* Nothing is stuck, however busy the machine is. */
	begin("--stuck-ms=60000");
	disk_open(&d, tap.socket, 1);
	data = front_data(&d.front, 4096);
	for (i = 0; i < 20; i++) {
		CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_OUT, i, data, 4096),
			 VIO_OK);
		CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, i, data, 4096),
			 VIO_OK);
	}
	disk_close(&d);
	CHECK_EQ(peer_end(&tap, SIGTERM), 0);
	expect_message(VHOST_USER_ADD_MEM_REG, 1);
	expect_message(VHOST_USER_SET_VRING_KICK, 1);
	expect_message(VHOST_USER_SET_VRING_CALL, 1);
	CHECK_EQ(count(TAP_USED, NULL), 40);
	CHECK_GE(count(TAP_KICK, NULL), 1);
	CHECK_GE(count(TAP_CALL, NULL), 1);
	CHECK_EQ(count(TAP_NOTE, "STUCK"), 0);
	CHECK_EQ(count(TAP_BEGIN, NULL), 1);
	CHECK_EQ(count(TAP_END, "the front end left"), 1);
	CHECK_EQ(tap_reader_open(&r, record), 0);
	while (tap_reader_next(&r, &e) > 0) {
		if (e.kind != TAP_USED)
			continue;
		/* Writes and reads in turn: status alone, or data and it. */
		CHECK_EQ(e.used_len, used++ % 2 ? 4097 : 1);
	}
	tap_reader_close(&r);
	peer_fini(&tap);
	CHECK_EQ(peer_end(&disk, SIGTERM), 0);
	peer_fini(&disk);
}

/* -- behind an IOMMU ------------------------------------------------------- */

#define PAGE	4096u

static int translate(void *ctx, uint64_t iova, unsigned perm,
		     struct vhu_client_map *map)
{
	uint64_t at = iova - d.front.drv_mem.window.addr.v;

	(void)ctx;
	(void)perm;
	if (at >= FRONT_MEM)
		return -1;
	*map = (struct vhu_client_map){
		.iova = iova - iova % PAGE, .size = PAGE,
		.host = d.front.mem + at - at % PAGE, .perm = VIO_PERM_RW,
	};
	return 0;
}

static void open_behind(uint64_t feature)
{
	static const struct vhu_client_ops ops = { .translate = translate };
	const struct vhu_client_conf conf = {
		.iommu = true, .serve_events = true, .ops = &ops,
	};
	struct vio_vq_limits limits = { .size = 64, .indirect_max = 4 };
	struct vio_features wanted = vio_blkdrv_features();

	vio_feature_clear(&wanted, VIRTIO_F_RING_PACKED);
	vio_feature_set(&wanted, VIRTIO_F_ACCESS_PLATFORM);
	wanted.w[0] |= feature;
	CHECK(front_open_with(&d.front, tap.socket, &conf));
	CHECK_EQ(vio_blkdrv_init(&d.blk, &vhu_client_bus, d.front.client,
				 &wanted, &limits, 1, &d.front.drv_mem),
		 VIO_OK);
	CHECK(vio_has(&d.blk.drv.features, VIRTIO_F_ACCESS_PLATFORM));
	CHECK_EQ(d.blk.drv.features.w[0] & feature, feature);
}

/* All of it is taken away, the rings too, and told again where missed. */
static void see_behind(uint64_t feature)
{
	void *data;

	more = "--iommu";
	begin("--stuck-ms=60000");
	more = "--poll-us=0";
	open_behind(feature);
	data = front_data(&d.front, 4 * PAGE);
	for (unsigned i = 0; i < 20; i++) {
		CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_OUT, i, data, 4 * PAGE),
			 VIO_OK);
		CHECK_EQ(vhu_client_invalidate(d.front.client,
				d.front.drv_mem.window.addr.v, FRONT_MEM), 0);
		CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, i, data, 4 * PAGE),
			 VIO_OK);
	}
	disk_close(&d);
	CHECK_EQ(peer_end(&tap, SIGTERM), 0);
	/* Each once, though it was blind in between. */
	CHECK_EQ(count(TAP_USED, NULL), 40);
	CHECK_EQ(count(TAP_NOTE, "jumped"), 0);
	CHECK_EQ(count(TAP_NOTE, "STUCK"), 0);
	peer_fini(&tap);
	CHECK_EQ(peer_end(&disk, SIGTERM), 0);
	peer_fini(&disk);
}

TEST("a split ring behind an IOMMU is seen by what the front end tells", "")
{
	see_behind(0);
}

TEST("a packed ring behind an IOMMU is seen by what the front end tells", "")
{
	see_behind(1ull << VIRTIO_F_RING_PACKED);
}

static struct vio_blkdrv_req req;
static struct vio_seg seg;

static void submit(void)
{
	seg = (struct vio_seg){ front_data(&d.front, 512), 512 };
	req = (struct vio_blkdrv_req){
		.type = VIRTIO_BLK_T_IN, .seg = &seg, .nr_seg = 1,
	};
	CHECK_EQ(vio_blkdrv_submit(&d.blk, 0, &req), VIO_OK);
}

static bool completes(void)
{
	for (unsigned i = 0; i < 3000; i++) {
		if (vio_blkdrv_poll(&d.blk, 0))
			return true;
		poll(NULL, 0, 10);
	}
	return false;
}

/* The device may poll as yet, and takes what comes. */
static void submit_and_not_kick(void)
{
	for (unsigned i = 0; i < 100; i++) {
		poll(NULL, 0, 20);
		submit();
		if (vio_vq_publish(&d.blk.queue[0].vq))
			return;
		CHECK(completes());
	}
	FAIL("the device wants no kick");
}

TEST("a driver that does not kick is found out, and heals", "")
{
	begin("--stuck-ms=200");
	disk_open(&d, tap.socket, 1);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 0,
			  front_data(&d.front, 512), 512), VIO_OK);
	submit_and_not_kick();
	CHECK(comes("STUCK: kick missing"));
	CHECK_EQ(vio_blkdrv_poll(&d.blk, 0) == NULL, 1);
	vhu_client_bus.notify(d.front.client, 0, 0);
	CHECK(completes());
	CHECK(comes("gets on"));
	disk_close(&d);
	end();
}

TEST("a back end that does not get on is told from a driver's fault", "")
{
	int how;

	/* Long enough that a driver on a busy machine kicks in time. */
	begin("--stuck-ms=1000");
	disk_open(&d, tap.socket, 1);
	poll(NULL, 0, 100);
	/* Until all its threads stand, one may still serve the ring. */
	kill(disk.pid, SIGSTOP);
	CHECK_EQ(waitpid(disk.pid, &how, WUNTRACED), disk.pid);
	CHECK(WIFSTOPPED(how));
	submit();
	vio_blkdrv_commit(&d.blk, 0);
	CHECK(comes("waits: 1 buffers were kicked for and not used"));
	CHECK_EQ(count(TAP_NOTE, "STUCK"), 0);
	kill(disk.pid, SIGCONT);
	CHECK(completes());
	CHECK(comes("gets on"));
	disk_close(&d);
	end();
}

/* What vireo-ring says; its exit status. */
static int ring(char *text, size_t size, const char *words)
{
	char command[512];
	size_t n;
	FILE *f;
	int rc;

	snprintf(command, sizeof(command), "%s/vireo-ring %s 2>&1", VIREO_BIN,
		 words);
	f = popen(command, "r");
	CHECK(f != NULL);
	n = fread(text, 1, size - 1, f);
	text[n] = 0;
	rc = pclose(f);
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

TEST("vireo ring says it of a daemon and of a record", "")
{
	static char text[8192];
	unsigned tries = 0;
	char words[256];

	begin("--stuck-ms=200");
	snprintf(words, sizeof(words), "%s --interval-ms=50", control);
	CHECK_EQ(ring(text, sizeof(text), words), 0);
	CHECK(strstr(text, "no front end is connected"));
	disk_open(&d, tap.socket, 1);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 0,
			  front_data(&d.front, 512), 512), VIO_OK);
	do
		CHECK_EQ(ring(text, sizeof(text), words), 0);
	while (!strstr(text, "fine: idle") && tries++ < 100);
	CHECK(strstr(text, "queue 0: running"));
	CHECK(strstr(text, "fine: idle"));
	CHECK(strstr(text, "0 not taken"));
	submit_and_not_kick();
	CHECK(comes("STUCK"));
	CHECK_EQ(ring(text, sizeof(text), words), 1);
	CHECK(strstr(text, "1 not taken"));
	CHECK(strstr(text, "STUCK: 1 entries not taken though kicks are on"));
	snprintf(words, sizeof(words), "-r %s --after-ms=200", record);
	CHECK_EQ(ring(text, sizeof(text), words), 1);
	/* Which one is the driver's affair. */
	CHECK(strstr(text, "\n    head "));
	CHECK(strstr(text, "STUCK: kick missing"));
	/* Before it happened nothing was wrong. */
	snprintf(words, sizeof(words), "-r %s --at-ms=150", record);
	CHECK_EQ(ring(text, sizeof(text), words), 0);
	vhu_client_bus.notify(d.front.client, 0, 0);
	CHECK(completes());
	disk_close(&d);
	end();
	CHECK_EQ(ring(text, sizeof(text), control), 3);
	CHECK(strstr(text, "is a daemon running with --control-path="));
}

TEST("JSON is read in place, whatever it is", "")
{
	static const char good[] = "{ \"a\": [1, {\"b\":\"x\\\"y\"}, []], "
		"\"n\" : 42, \"t\":true, \"s\":\"text\" }";
	static const char *const bad[] = {
		"", "{", "{\"a\"", "{\"a\":", "[", "[1,", "{\"a\":\"", "}",
		"{\"a\":[}", "nothing", "{\"a\":1}}", "[[[[[[[[",
	};
	char text[8];
	const char *e;

	CHECK_EQ(json_u64(good, "n", 7), 42);
	CHECK_EQ(json_u64(good, "none", 7), 7);
	CHECK(json_bool(good, "t"));
	json_str(good, "s", text, sizeof(text));
	CHECK_STREQ(text, "text");
	e = json_first(json_member(good, "a"));
	CHECK(e && *e == '1');
	e = json_next(e);
	json_str(e, "b", text, sizeof(text));
	CHECK_STREQ(text, "x\\\"y");
	e = json_next(e);
	CHECK(e && !json_first(e));
	CHECK(!json_next(e));
	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++) {
		e = json_first(json_member(bad[i], "a"));
		for (unsigned k = 0; e && k < 10; k++)
			e = json_next(e);
		CHECK_EQ(json_u64(bad[i], "z", 1), 1);
	}
}

/* -- rules ---------------------------------------------------------------- */

/* A split ring that is idle, as one in between sees it. */
static struct ring_state idle(void)
{
	return (struct ring_state){
		.connected = true, .configured = true, .started = true,
		.enabled = true, .event_idx = true, .size = 64,
		.kick = RING_WAY_FD, .call = RING_WAY_FD,
		.want_kick = VIO_WANT_AT, .want_call = VIO_WANT_AT,
		.kick_at = 10, .call_at = 9, .untaken = -1,
		.sees_signals = true, .kicked = true, .called = true,
		.avail_at_kick = 10, .avail_now = 10, .used_at_call = 10,
		.used_now = 10,
	};
}

static void expect(const struct ring_state *r, enum ring_grade grade,
		   const char *text)
{
	char why[256];

	CHECK_EQ(ring_diagnose(r, 100, why, sizeof(why)), grade);
	if (!strstr(why, text))
		printf("# %s\n", why);
	CHECK(strstr(why, text));
}

TEST("why a ring is stuck: one rule each", "")
{
	struct ring_state r = idle();

	expect(&r, RING_FINE, "idle");
	r.pending = 1;
	r.oldest_ms = 99;
	r.avail_now = 11;
	expect(&r, RING_FINE, "working");
	r.oldest_ms = 100;
	expect(&r, RING_STUCK, "kick missing: the driver passed entry 10");
	r.kick_at = 11;
	expect(&r, RING_STUCK, "suppressed by event index");
	r.want_kick = VIO_WANT_NONE;
	expect(&r, RING_STUCK, "turned kicks off and does not look");
	r.want_kick = VIO_WANT_ALL;
	expect(&r, RING_STUCK, "the device wants every kick");
	r.avail_at_kick = 11;
	expect(&r, RING_WAITS, "kicked for and not used");
	r.kick = RING_WAY_NONE;
	expect(&r, RING_STUCK, "no way to kick");
	r = idle();
	r.used_now = 11;
	r.used_more = true;
	expect(&r, RING_FINE, "idle");
	r.call_at = 10;
	expect(&r, RING_STUCK, "call missing: buffers were used");
	r.call = RING_WAY_NONE;
	expect(&r, RING_STUCK, "SET_VRING_CALL did not come");
	r = idle();
	r.enabled = false;
	expect(&r, RING_FINE, "disabled");
	r.pending = 1;
	expect(&r, RING_STUCK, "disabled");
	r.broken = true;
	expect(&r, RING_STUCK, "broken");
	r = idle();
	r.overrun = true;
	expect(&r, RING_STUCK, "further ahead");
}

TEST("what the device itself knows: entries not taken, requests in flight", "")
{
	struct ring_state r = idle();

	r.sees_signals = false;
	r.untaken = 0;
	r.pending = 3;
	r.oldest_ms = 5000;
	r.oldest_head = 7;
	expect(&r, RING_WAITS, "3 requests in flight, head 7 for 5000 ms");
	r.untaken = 2;
	expect(&r, RING_STUCK, "2 entries not taken though kicks are on");
	r.want_kick = VIO_WANT_NONE;
	expect(&r, RING_STUCK, "the queue's thread does not get to it");
}

TEST("why a packed ring is stuck, over the end of the ring", "")
{
	struct ring_state r = idle();

	r.packed = true;
	r.pending = 1;
	r.oldest_ms = 500;
	r.avail_at_kick = 63;
	r.avail_now = 65;
	r.kick_at = 0x8000 | 63;
	expect(&r, RING_STUCK, "kick missing");
	r.kick_at = 1;		/* next round, wrap counter 0 */
	expect(&r, RING_STUCK, "suppressed");
}

/* -- the record ----------------------------------------------------------- */

TEST("a message with descriptors survives the record", "")
{
	static struct tap_event in, out;
	static unsigned char bytes[TAP_BYTES_MAX];
	size_t len;

	vhu_msg_init(&in.msg, VHOST_USER_SET_VRING_ADDR, VHU_NEED_REPLY,
		     sizeof(in.msg.p.addr));
	in.kind = TAP_MESSAGE;
	in.queue = TAP_NO_QUEUE;
	in.session = 3;
	in.msg.p.addr.desc = 0x123456789abcdef0;
	in.msg.nr_fds = 2;
	strcpy(in.fd_name[0], "/memfd:guest");
	strcpy(in.fd_name[1], "anon_inode:[eventfd]");
	len = tap_encode(&in, bytes);
	CHECK_EQ(len, 16 + 12 + 40 + 64);
	CHECK(tap_decode(&out, bytes, len));
	CHECK_EQ(out.session, 3);
	CHECK_EQ(out.msg.hdr.request, VHOST_USER_SET_VRING_ADDR);
	CHECK_EQ(out.msg.p.addr.desc, 0x123456789abcdef0);
	CHECK_STREQ(out.fd_name[1], "anon_inode:[eventfd]");
	/* Cut off anywhere, it is no event. */
	while (len--)
		CHECK(!tap_decode(&out, bytes, len));
}

TEST("a ring's state survives the record", "")
{
	struct tap_event in = { .kind = TAP_STATE, .queue = 5 };
	static struct tap_event out;
	static unsigned char bytes[TAP_BYTES_MAX];

	in.state = idle();
	in.state.pending = 70000;
	in.state.oldest_ms = 1234567;
	in.state.packed = true;
	CHECK(tap_decode(&out, bytes, tap_encode(&in, bytes)));
	CHECK_EQ(out.queue, 5);
	CHECK_EQ(memcmp(&in.state, &out.state, sizeof(in.state)), 0);
}

TEST("a file that is no record, and one that is cut off", "")
{
	char path[] = "/tmp/vireo-tap.XXXXXX";
	static struct tap_event e = { .kind = TAP_NOTE, .queue = 1 };
	struct tap_reader r;
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "wb");

	CHECK(f != NULL);
	CHECK_EQ(tap_reader_open(&r, "/nonexistent"), -2);
	CHECK_EQ(tap_reader_open(&r, path), -84);
	CHECK(tap_file_begin(f));
	strcpy(e.text, "one");
	CHECK(tap_file_put(f, &e));
	CHECK(tap_file_put(f, &e));
	fflush(f);
	CHECK_EQ(ftruncate(fd, ftell(f) - 8), 0);
	CHECK_EQ(tap_reader_open(&r, path), 0);
	CHECK_EQ(tap_reader_next(&r, &e), 1);
	CHECK_STREQ(e.text, "one");
	CHECK_EQ(tap_reader_next(&r, &e), -84);
	tap_reader_close(&r);
	fclose(f);
	unlink(path);
}
