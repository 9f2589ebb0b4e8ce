/* SPDX-License-Identifier: MIT */
/*
 * Postcopy: the test is the front end that fills pages in as they are missed.
 * The back end's step that touches one sleeps, so it runs on a thread.
 */
#define _GNU_SOURCE
#include "fe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vireo/spec/split.h>
#include <vireo/spec/virtio.h>

#define MODERN		(1ull << VIRTIO_F_VERSION_1)
#define PROTOCOL	(1ull << VHOST_USER_F_PROTOCOL_FEATURES)
#define PAGE		4096u
#define WANTED		(VHU_PF(REPLY_ACK) | VHU_PF(PAGEFAULT) | \
			 VHU_PF(CONFIGURE_MEM_SLOTS))
/* Where fe.c has ring 0, and its buffers. */
#define BUFS		0x3000u

static struct fe f;
static struct vhu_env_ops env;
static int dev;			/* /dev/userfaultfd */
static unsigned watches;

static int new_uffd(void *ctx)
{
	int fd;

	(void)ctx;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int no_uffd(void *ctx)
{
	(void)ctx;
	return -EPERM;
}

static void watch_calls(void *ctx)
{
	(void)ctx;
	watches++;
}

/* -- SIGBUS, as a program's map_guard has it ------------------------------ */

static unsigned char *bus_base;
static volatile sig_atomic_t bus;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	bus = 1;
	if (mmap(bus_base, FE_MEM, PROT_READ | PROT_WRITE, MAP_FIXED |
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		_exit(1);
}

/* -- beginnings ----------------------------------------------------------- */

static bool begin(void)
{
	env = *fe_env();
	env.userfaultfd = new_uffd;
	env.watch_calls = watch_calls;
	watches = 0;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return false;
	fe_open_in(&f, &env);
	fe_negotiate(&f, WANTED, MODERN | PROTOCOL);
	return true;
}

#define BEGIN_OR_SKIP() \
	do { \
		if (!begin()) \
			SKIP("/dev/userfaultfd cannot be opened"); \
	} while (0)

static void finish(void)
{
	fe_close(&f);
	close(dev);
}

static int advise(void)
{
	fe_send(&f, VHOST_USER_POSTCOPY_ADVISE, 0, NULL, 0, NULL, 0);
	fe_expect(&f, VHOST_USER_POSTCOPY_ADVISE, 0);
	CHECK_EQ(f.in.in.nr_fds, 1);
	return vhu_msg_take_fd(&f.in.in, 0);
}

static uint64_t listening(void)
{
	return fe_ask(&f, VHOST_USER_POSTCOPY_LISTEN, NULL, 0, NULL, 0);
}

static void ack(uint32_t request, uint64_t v)
{
	fe_send_u64(&f, request, v);
	fe_expect_silence(&f);
}

/* Memory in one message; gives where it is there. */
static unsigned char *send_table(void)
{
	fe_send_memory(&f);
	fe_expect(&f, VHOST_USER_SET_MEM_TABLE, 8 + 32);
	CHECK_EQ(f.in.in.p.table.nr, 1);
	CHECK_EQ(f.in.in.p.table.region[0].guest_addr, FE_GUEST);
	CHECK_EQ(f.in.in.p.table.region[0].size, FE_MEM);
	return (unsigned char *)(uintptr_t)
		f.in.in.p.table.region[0].user_addr;
}

static unsigned char *add_slot(uint32_t at)
{
	struct vhu_mem_reg r = {
		0, { FE_GUEST + at, FE_MEM / 2, FE_USER + at, at },
	};

	fe_send(&f, VHOST_USER_ADD_MEM_REG, 0, &r, sizeof(r), &f.memfd, 1);
	fe_expect(&f, VHOST_USER_ADD_MEM_REG, sizeof(r));
	CHECK_EQ(f.in.in.p.reg.region.guest_addr, FE_GUEST + at);
	return (unsigned char *)(uintptr_t)f.in.in.p.reg.region.user_addr;
}

/* All of a ring but its buffers' page has arrived. */
static void offer_without_page(void)
{
	fe_offer(&f, 0);
	CHECK_EQ(fallocate(f.memfd, FALLOC_FL_PUNCH_HOLE |
			   FALLOC_FL_KEEP_SIZE, BUFS, PAGE), 0);
}

static void *serve(void *arg)
{
	vhu_queue_service(f.s, 0, 8);
	return arg;
}

static unsigned char *next_fault(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	CHECK_EQ(poll(&p, 1, 60000), 1);
	CHECK_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	CHECK_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	return (unsigned char *)(uintptr_t)msg.arg.pagefault.address;
}

static void bring(int uffd, unsigned char *to)
{
	static _Alignas(PAGE) unsigned char page[PAGE];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)to & ~(uintptr_t)(PAGE - 1),
		.src = (uintptr_t)page,
		.len = PAGE,
	};

	memset(page, 0x5a, sizeof(page));
	CHECK_EQ(ioctl(uffd, UFFDIO_COPY, &copy), 0);
}

static void no_fault(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };

	CHECK_EQ(poll(&p, 1, 0), 0);
}

/* A request into a page that comes late. */
static void run_late(int uffd, unsigned char *base)
{
	pthread_t t;

	offer_without_page();
	CHECK_EQ(pthread_create(&t, NULL, serve, NULL), 0);
	CHECK_EQ((next_fault(uffd) - base) / PAGE, BUFS / PAGE);
	CHECK_EQ(fe_used(&f, 0), 0);
	bring(uffd, base + BUFS);
	pthread_join(t, NULL);
	/* Checks the bytes; what is behind them is what was brought. */
	CHECK_EQ(fe_used(&f, 0), 1);
	CHECK_EQ(f.mem[BUFS + PAGE - 1], 0x5a);
}

static void run_at_once(int uffd)
{
	fe_offer(&f, 0);
	vhu_queue_service(f.s, 0, 8);
	CHECK_EQ(fe_used(&f, 0), 1);
	if (uffd >= 0)
		no_fault(uffd);
}

static void start_ring(void)
{
	/* These pages are here. */
	memset(f.mem, 0, 4 * PAGE);
	fe_send_ring(&f, 0);
	fe_send_state(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1);
	CHECK(f.q[0].is_watched);
}

TEST("vhost postcopy: a page that is missing is waited for, others not", "")
{
	int before = fe_open_fds(), uffd;
	unsigned char *base;

	BEGIN_OR_SKIP();
	uffd = advise();
	CHECK_EQ(listening(), 0);
	CHECK_EQ(watches, 1);
	CHECK(vhu_server_unblock(f.s));
	base = send_table();
	/* Not in force before the front end knows. */
	memset(f.mem, 0, 4 * PAGE);
	fe_send_ring(&f, 0);
	CHECK(!f.q[0].is_watched);
	ack(VHOST_USER_SET_MEM_TABLE, 0);
	start_ring();
	no_fault(uffd);
	run_at_once(uffd);
	run_late(uffd, base);
	run_at_once(uffd);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_POSTCOPY_END), 0);
	/* The calls since the last time, and no more. */
	vhu_server_unblock(f.s);
	CHECK(!vhu_server_unblock(f.s));
	/* All that is missing now is empty. */
	offer_without_page();
	vhu_queue_service(f.s, 0, 8);
	CHECK_EQ(fe_used(&f, 0), 1);
	no_fault(uffd);
	close(uffd);
	CHECK_EQ(f.ended, 0);
	finish();
	CHECK_EQ(fe_open_fds(), before);
}

TEST("vhost postcopy: memory by slots, all known before any is touched", "")
{
	int uffd;
	unsigned char *low, *high;

	BEGIN_OR_SKIP();
	uffd = advise();
	CHECK_EQ(listening(), 0);
	low = add_slot(0);
	high = add_slot(FE_MEM / 2);
	CHECK(low != high);
	ack(VHOST_USER_ADD_MEM_REG, 0);
	start_ring();
	run_late(uffd, low);
	/* There may be nothing new to know. */
	ack(VHOST_USER_REM_MEM_REG, 0);
	CHECK_EQ(f.guarded, 2);
	run_late(uffd, low);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_POSTCOPY_END), 0);
	close(uffd);
	finish();
}

/* -- huge pages ------------------------------------------------------------ */

#define HUGE		(2u << 20)
#define HUGE_GUEST	(FE_GUEST + (1ull << 30))

/* Behind the other memory; two pages, of which none is there. */
static int add_huge(unsigned char **base)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	struct vhu_mem_reg r = {
		0, { HUGE_GUEST, 2 * HUGE, FE_USER + (1ull << 30), 0 },
	};
	void *p;

	if (fd < 0 || ftruncate(fd, 2 * HUGE))
		SKIP("no hugetlbfs");
	p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		SKIP("no huge pages are free");
	munmap(p, 2 * HUGE);
	fe_send(&f, VHOST_USER_ADD_MEM_REG, 0, &r, sizeof(r), &fd, 1);
	fe_expect(&f, VHOST_USER_ADD_MEM_REG, sizeof(r));
	*base = (unsigned char *)(uintptr_t)f.in.in.p.reg.region.user_addr;
	return fd;
}

static void bring_huge(int uffd, unsigned char *to)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)to, .len = HUGE };
	void *from = mmap(NULL, HUGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(from, 0x5a, HUGE);
	copy.src = (uintptr_t)from;
	CHECK_EQ(ioctl(uffd, UFFDIO_COPY, &copy), 0);
	munmap(from, HUGE);
}

TEST("vhost postcopy: a huge page comes whole", "")
{
	const size_t at = HUGE + 12345;
	int before = fe_open_fds(), uffd, fd;
	unsigned char *base, seen[16] = { 0 }, *low;
	pthread_t t;

	BEGIN_OR_SKIP();
	uffd = advise();
	CHECK_EQ(listening(), 0);
	low = add_slot(0);
	fd = add_huge(&base);
	ack(VHOST_USER_ADD_MEM_REG, 0);
	start_ring();
	run_late(uffd, low);
	fe_offer(&f, 0);
	((struct virtq_desc *)f.mem)[(f.q[0].avail_idx - 1) % FE_RING].addr =
		vio_to_le64(HUGE_GUEST + at);
	CHECK_EQ(pthread_create(&t, NULL, serve, NULL), 0);
	CHECK_EQ((next_fault(uffd) - base) / HUGE, 1);
	bring_huge(uffd, base + HUGE);
	pthread_join(t, NULL);
	CHECK_EQ(vio_from_le16(((struct virtq_used *)
				(f.mem + 2 * PAGE))->idx), 2);
	/* The answer, and around it what was brought. */
	memcpy(seen, base + at - 1, 8);
	CHECK_EQ(seen[0], 0x5a);
	CHECK_MEMEQ(seen + 1, FE_ANSWER, sizeof(FE_ANSWER));
	CHECK_EQ(seen[1 + sizeof(FE_ANSWER)], 0x5a);
	no_fault(uffd);
	/* The other page is missing when the front end leaves. */
	close(uffd);
	close(fd);
	finish();
	CHECK_EQ(fe_open_fds(), before);
}

TEST("vhost postcopy: who waits when the front end leaves is woken", "")
{
	struct sigaction sa = { .sa_sigaction = on_bus,
				.sa_flags = SA_SIGINFO }, old;
	int before = fe_open_fds(), uffd;
	pthread_t t;

	BEGIN_OR_SKIP();
	uffd = advise();
	CHECK_EQ(listening(), 0);
	bus_base = send_table();
	ack(VHOST_USER_SET_MEM_TABLE, 0);
	start_ring();
	offer_without_page();
	bus = 0;
	sigaction(SIGBUS, &sa, &old);
	CHECK_EQ(pthread_create(&t, NULL, serve, NULL), 0);
	next_fault(uffd);
	/* As long as it is there it may take its time. */
	CHECK(vhu_server_unblock(f.s));
	CHECK_EQ(pthread_tryjoin_np(t, NULL), EBUSY);
	CHECK(!bus);
	shutdown(f.sock, SHUT_WR);
	CHECK(vhu_server_unblock(f.s));
	pthread_join(t, NULL);
	/* Met as memory that was taken away, and nothing came of it. */
	CHECK(bus);
	CHECK_EQ(fe_used(&f, 0), 0);
	CHECK_EQ(f.mem[BUFS], 0);
	close(uffd);
	finish();
	sigaction(SIGBUS, &old, NULL);
	CHECK_EQ(fe_open_fds(), before);
}

/* The session ends by a mistake of the front end. */
static void wrong(uint32_t request, uint64_t v, uint32_t size)
{
	uint64_t payload[5] = { v };
	unsigned logs = f.logs;

	fe_send(&f, request, 0, payload, size, NULL, 0);
	CHECK_NE(f.ended, 0);
	CHECK_EQ(f.logs, logs + 1);
	fe_reopen(&f);
	fe_negotiate(&f, WANTED, MODERN | PROTOCOL);
}

static void listen_again(void)
{
	close(advise());
	CHECK_EQ(listening(), 0);
}

TEST("vhost postcopy: messages out of place end the session", "")
{
	int before = fe_open_fds();

	BEGIN_OR_SKIP();
	wrong(VHOST_USER_POSTCOPY_LISTEN, 0, 0);
	wrong(VHOST_USER_POSTCOPY_END, 0, 0);
	close(advise());
	wrong(VHOST_USER_POSTCOPY_ADVISE, 0, 0);
	/* Nobody could fill in what is mapped already. */
	close(advise());
	fe_send_memory(&f);
	wrong(VHOST_USER_POSTCOPY_LISTEN, 0, 0);
	listen_again();
	wrong(VHOST_USER_POSTCOPY_LISTEN, 0, 0);
	/* An acknowledgement is for postcopy alone. */
	wrong(VHOST_USER_ADD_MEM_REG, 0, 8);
	wrong(VHOST_USER_REM_MEM_REG, 0, 39);
	listen_again();
	wrong(VHOST_USER_ADD_MEM_REG, 0, 9);
	listen_again();
	send_table();
	wrong(VHOST_USER_SET_MEM_TABLE, 1, 8);
	listen_again();
	send_table();
	wrong(VHOST_USER_POSTCOPY_END, 0, 0);
	listen_again();
	send_table();
	/* The other table is not in force; this one is another ack. */
	send_table();
	CHECK_EQ(f.guarded, 1);
	ack(VHOST_USER_SET_MEM_TABLE, 0);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_POSTCOPY_END), 0);
	CHECK_EQ(f.ended, 0);
	/* Kernel's refusal. */
	env.userfaultfd = no_uffd;
	wrong(VHOST_USER_POSTCOPY_ADVISE, 0, 0);
	finish();
	CHECK_EQ(fe_open_fds(), before);
}

TEST("vhost postcopy: not offered where nobody can wake who waits", "")
{
	struct vhu_env_ops without[3];

	BEGIN_OR_SKIP();
	finish();
	without[0] = without[1] = without[2] = env;
	without[0].userfaultfd = NULL;
	without[1].watch_calls = NULL;
	without[2].map_guard = NULL;
	for (unsigned i = 0; i < VIO_ARRAY_LEN(without); i++) {
		fe_open_in(&f, &without[i]);
		CHECK_EQ(fe_get_u64(&f, VHOST_USER_GET_PROTOCOL_FEATURES) &
			 VHU_PF(PAGEFAULT), 0);
		fe_send(&f, VHOST_USER_POSTCOPY_ADVISE, 0, NULL, 0, NULL, 0);
		CHECK_NE(f.ended, 0);
		fe_close(&f);
	}
}

TEST("vhost postcopy: no session is handed over in the middle", "")
{
	int uffd;

	BEGIN_OR_SKIP();
	uffd = advise();
	CHECK_EQ(vhu_server_hand_over(f.s, f.sock), -EAGAIN);
	CHECK_EQ(fe_get_u64(&f, VHOST_USER_POSTCOPY_END), 0);
	close(uffd);
	finish();
}
