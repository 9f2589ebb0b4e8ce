/* SPDX-License-Identifier: MIT */
/*
 * A device's own state over the front end's channel: out and in, by front ends
 * that are slow, that stop in the middle, that send something else.
 */
#define _GNU_SOURCE
#include "fe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <vireo/spec/virtio.h>
#include <vireo/state.h>

#define MODERN		(1ull << VIRTIO_F_VERSION_1)
#define PROTOCOL	(1ull << VHOST_USER_F_PROTOCOL_FEATURES)
#define TAG		(VIO_STATE_OUTER + 1)

static struct fe f;
static unsigned char own[200000], state[VIO_STATE_MAX + 1];
static size_t own_len, state_len;
static unsigned loads;
static int verdict;

static void save(void *ctx, struct vio_state_out *out)
{
	(void)ctx;
	vio_state_put(out, TAG, VIO_STATE_MUST, own, (uint32_t)own_len);
}

static int load(void *ctx, const struct vio_state_record *r)
{
	(void)ctx;
	loads++;
	if (r->tag != TAG || r->len > sizeof(own))
		return VIO_E_UNSUPP;
	memcpy(own, r->p, r->len);
	own_len = r->len;
	return verdict;
}

static const struct vio_dev_outer outer = { .save = save, .load = load };

static void open_it(void)
{
	fe_open(&f);
	f.dev.outer = &outer;
	verdict = VIO_OK;
	loads = 0;
}

static void negotiate(void)
{
	fe_negotiate(&f, VHU_PF(DEVICE_STATE) | VHU_PF(REPLY_ACK),
		     MODERN | PROTOCOL);
}

/* Hand over @fd, which is closed; the answer. */
static uint64_t transfer(uint32_t direction, uint32_t phase, int fd)
{
	struct vhu_transfer t = { direction, phase };

	fe_send(&f, VHOST_USER_SET_DEVICE_STATE_FD, 0, &t, sizeof(t), &fd, 1);
	close(fd);
	if (f.ended)
		return UINT64_MAX;
	fe_expect(&f, VHOST_USER_SET_DEVICE_STATE_FD, 8);
	CHECK_EQ(f.in.in.nr_fds, 0);
	return f.in.in.p.u64;
}

static uint64_t check(void)
{
	return fe_get_u64(&f, VHOST_USER_CHECK_DEVICE_STATE);
}

static void take_out(void)
{
	int p[2];
	ssize_t n;

	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	CHECK_EQ(transfer(VHU_TRANSFER_SAVE, VHU_PHASE_STOPPED, p[1]),
		 VHU_TRANSFER_NOFD);
	for (state_len = 0;; state_len += (size_t)n) {
		n = read(p[0], state + state_len, sizeof(state) - state_len);
		CHECK_GE(n, 0);
		if (!n)
			break;
	}
	close(p[0]);
	CHECK_EQ(check(), 0);
}

/* The answer to the check. */
static uint64_t put_in(size_t len)
{
	size_t at = 0;
	int p[2];

	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	CHECK_EQ(transfer(VHU_TRANSFER_LOAD, VHU_PHASE_STOPPED, p[0]),
		 VHU_TRANSFER_NOFD);
	while (at < len) {
		ssize_t n = write(p[1], state + at, len - at);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	close(p[1]);
	return check();
}

static void start_ring(void)
{
	fe_send_memory(&f);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
}

static void check_served(void)
{
	fe_offer(&f, 0);
	fe_kick(&f, 0);
	CHECK_EQ(fe_used(&f, 0), 1);
}

TEST("vhost state: out, and in elsewhere, longer than a pipe", "")
{
	struct vtest_rand rand = vtest_rand_init(vtest_seed());
	static unsigned char before[sizeof(own)];
	int fds = fe_open_fds();

	for (unsigned round = 0; round < 3; round++) {
		own_len = round ? sizeof(own) >> (2 * round - 2) : 0;
		vtest_fill(&rand, before, own_len);
		memcpy(own, before, own_len);
		open_it();
		negotiate();
		take_out();
		CHECK_GT(state_len, own_len);
		fe_close(&f);
		/* Another back end. Features come before it, or after. */
		memset(own, 0, sizeof(own));
		open_it();
		if (round % 2)
			negotiate();
		CHECK_EQ(put_in(state_len), 0);
		CHECK_EQ(loads, round % 2);
		if (!(round % 2))
			negotiate();
		start_ring();
		check_served();
		CHECK_GE(loads, 1);
		CHECK_MEMEQ(own, before, own_len);
		/* Once is enough: the next start is the driver's. */
		loads = 0;
		fe_send_state(&f, VHOST_USER_GET_VRING_BASE, 0, 0);
		fe_expect(&f, VHOST_USER_GET_VRING_BASE, 8);
		fe_send_ring(&f, 0);
		check_served();
		CHECK_EQ(loads, 0);
		fe_close(&f);
	}
	CHECK_EQ(fe_open_fds(), fds);
}

TEST("vhost state: only while all rings are stopped, and one at a time", "")
{
	int p[2];

	open_it();
	negotiate();
	own_len = 10;
	start_ring();
	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	transfer(VHU_TRANSFER_SAVE, VHU_PHASE_STOPPED, p[1]);
	CHECK_EQ(f.ended, -EPROTO);
	CHECK_EQ(f.logs, 1);
	close(p[0]);
	/* Nothing to check. */
	fe_reopen(&f);
	negotiate();
	fe_send(&f, VHOST_USER_CHECK_DEVICE_STATE, 0, NULL, 0, NULL, 0);
	CHECK_EQ(f.ended, -EPROTO);
	/* No such direction, no such phase: no session ends for that. */
	fe_reopen(&f);
	negotiate();
	CHECK_EQ(transfer(2, VHU_PHASE_STOPPED, dup(f.memfd)) & 0xff, EINVAL);
	CHECK_EQ(transfer(VHU_TRANSFER_SAVE, 1, dup(f.memfd)) & 0xff, EINVAL);
	CHECK_EQ(f.ended, 0);
	/* The second replaces the first. */
	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	CHECK_EQ(transfer(VHU_TRANSFER_LOAD, VHU_PHASE_STOPPED, p[0]),
		 VHU_TRANSFER_NOFD);
	take_out();
	CHECK_EQ(put_in(state_len), 0);
	close(p[1]);
	fe_close(&f);
}

TEST("vhost state: whatever else comes is refused, and nothing is changed", "")
{
	open_it();
	negotiate();
	own_len = 100;
	memset(own, 1, own_len);
	take_out();
	memset(own, 2, own_len);
	/* Cut short, anywhere; a byte too many; another device's. */
	for (size_t n = 0; n < state_len; n += 7)
		CHECK_EQ(put_in(n), 1);
	state[state_len] = 0;
	CHECK_EQ(put_in(state_len + 1), 1);
	state[6]++;
	CHECK_EQ(put_in(state_len), 1);
	state[6]--;
	/* More than it would ever be. */
	memset(state + state_len, 0, sizeof(state) - state_len);
	CHECK_EQ(put_in(sizeof(state)), 1);
	CHECK_EQ(loads, 0);
	/* The type says no, now, or when the first ring starts. */
	verdict = VIO_E_PEER;
	CHECK_EQ(put_in(state_len), 1);
	CHECK_EQ(f.ended, 0);
	fe_reopen(&f);
	CHECK_EQ(put_in(state_len), 0);
	negotiate();
	start_ring();
	CHECK_EQ(f.ended, -EINVAL);
	/* The next session knows nothing of it. */
	fe_reopen(&f);
	negotiate();
	start_ring();
	check_served();
	fe_close(&f);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Nobody else is served while an answer is worked out. */
TEST("vhost state: bytes that are not there are not waited for", "")
{
	int64_t began = now_ms();
	int p[2];

	open_it();
	negotiate();
	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
		CHECK_EQ(transfer(VHU_TRANSFER_LOAD, VHU_PHASE_STOPPED, p[0]),
			 VHU_TRANSFER_NOFD);
		CHECK_EQ(check(), 1);
		close(p[1]);
	}
	own_len = sizeof(own);
	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
		CHECK_EQ(transfer(VHU_TRANSFER_SAVE, VHU_PHASE_STOPPED, p[1]),
			 VHU_TRANSFER_NOFD);
		CHECK_EQ(check(), 1);
		close(p[0]);
	}
	/* Half a second each, if they were. */
	CHECK_LT(now_ms() - began, 8000);
	fe_close(&f);
}

/* Is any of our threads in a call of that number? */
static bool some_in(long call)
{
	DIR *dir = opendir("/proc/self/task");
	char path[300], line[32];
	struct dirent *e;
	bool found = false;

	CHECK(dir != NULL);
	while ((e = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/syscall",
			 e->d_name);
		file = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!file)
			continue;
		found |= fgets(line, sizeof(line), file) &&
			 strtol(line, NULL, 10) == call && line[0] != 'r';
		fclose(file);
	}
	closedir(dir);
	return found;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* A transfer that hangs in the write to a terminal; the other end of that. */
static int hang(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct termios raw;
	char some[4096];

	if (master < 0 || grantpt(master) || unlockpt(master) ||
	    access("/proc/self/syscall", R_OK))
		SKIP("needs terminals, and /proc/self/syscall");
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK_GE(slave, 0);
	CHECK_EQ(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	CHECK_EQ(tcsetattr(slave, TCSANOW, &raw), 0);
	CHECK_EQ(transfer(VHU_TRANSFER_SAVE, VHU_PHASE_STOPPED, dup(slave)),
		 VHU_TRANSFER_NOFD);
	/* It is full, and waited for; from now on a write waits itself. */
	while (!some_in(SYS_poll) && !some_in(SYS_ppoll))
		nap();
	CHECK_EQ(fcntl(slave, F_SETFL, 0), 0);
	while (!some_in(SYS_write)) {
		if (read(master, some, sizeof(some)) <= 0)
			break;
		nap();
	}
	close(slave);
	return master;
}

TEST("vhost state: a transfer that hangs keeps nobody but the next one", "")
{
	int fds = fe_open_fds(), master, p[2];
	uint64_t answer;

	open_it();
	negotiate();
	own_len = sizeof(own);
	master = hang();
	CHECK_EQ(check(), 1);
	CHECK_EQ(f.logs, 2);
	CHECK_EQ(f.ended, 0);
	/* Another session is served, but for that. */
	fe_reopen(&f);
	negotiate();
	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	CHECK_EQ(transfer(VHU_TRANSFER_LOAD, VHU_PHASE_STOPPED, p[0]),
		 VHU_TRANSFER_NOFD | EBUSY);
	close(p[1]);
	start_ring();
	check_served();
	/* And that too, when it has come to its end. */
	fe_reopen(&f);
	negotiate();
	close(master);
	do {
		CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
		answer = transfer(VHU_TRANSFER_LOAD, VHU_PHASE_STOPPED, p[0]);
		close(p[1]);
	} while (answer == (VHU_TRANSFER_NOFD | EBUSY));
	CHECK_EQ(answer, VHU_TRANSFER_NOFD);
	/* The server goes before that. */
	master = hang();
	fe_close(&f);
	close(master);
	while (some_in(SYS_write) || fe_open_fds() != fds)
		nap();
}

TEST("vhost state: a front end that neither reads nor writes on", "")
{
	int fds = fe_open_fds();
	int p[2];

	open_it();
	negotiate();
	own_len = sizeof(own);
	/* Out: it takes nothing, and leaves. */
	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	CHECK_EQ(transfer(VHU_TRANSFER_SAVE, VHU_PHASE_STOPPED, p[1]),
		 VHU_TRANSFER_NOFD);
	fe_reopen(&f);
	negotiate();
	close(p[0]);
	/* Out: it closes its end. */
	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	close(p[0]);
	CHECK_EQ(transfer(VHU_TRANSFER_SAVE, VHU_PHASE_STOPPED, p[1]),
		 VHU_TRANSFER_NOFD);
	CHECK_EQ(check(), 1);
	/* In: it never says that this is all; the answer comes all the same. */
	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	CHECK_EQ(transfer(VHU_TRANSFER_LOAD, VHU_PHASE_STOPPED, p[0]),
		 VHU_TRANSFER_NOFD);
	CHECK_EQ(check(), 1);
	close(p[1]);
	/* A descriptor that is not for reading. */
	CHECK_EQ(transfer(VHU_TRANSFER_LOAD, VHU_PHASE_STOPPED,
			  open("/dev/null", O_WRONLY | O_CLOEXEC)),
		 VHU_TRANSFER_NOFD);
	CHECK_EQ(check(), 1);
	start_ring();
	check_served();
	fe_close(&f);
	CHECK_EQ(fe_open_fds(), fds);
}
