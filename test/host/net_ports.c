/* SPDX-License-Identifier: MIT */
/* vireo-net with several cards, and cards with several pairs of queues. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vireo/driver_net.h>

#include "host/control_client.h"
#include "test/host/peer.h"
#include "vtest.h"

#ifndef HAVE_SLIRP
#define HAVE_SLIRP 0
#endif
#define PACKET	60u
#define LONG_MS	60000u	/* by then a machine of any load has done it */
#define PAIRS	4u

static struct peer p;

/* A guest's card. */
struct card {
	struct front f;
	struct vio_netdrv net;
	unsigned char *data;
};

static struct card one, two;

static void card_open(struct card *c, const char *name, unsigned pairs)
{
	struct vio_netdrv_conf conf = {
		.wanted = vio_netdrv_features(), .pairs = pairs,
		.limits = { .size = 64, .indirect_max = 4 },
		.rx_buffers = 32, .rx_len = 2048,
	};
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", p.dir, name);
	CHECK(front_open_as(&c->f, path, -1, true));
	CHECK_EQ(vio_netdrv_init(&c->net, &vhu_client_bus, c->f.client, &conf,
				 &c->f.drv_mem), VIO_OK);
	CHECK_EQ(c->net.nr_pairs, pairs);
	CHECK_EQ(vio_netdrv_command(&c->net, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
		 VIO_OK);
	if (pairs > 1)
		CHECK_EQ(vio_netdrv_set_pairs(&c->net, pairs), VIO_OK);
	c->data = front_data(&c->f, 64 * 2048);
}

static void card_send(struct card *c, unsigned pair, const void *bytes)
{
	unsigned char *at = c->data + pair * 2048 + VIO_NETDRV_HEADROOM;
	struct vio_seg seg = { at, PACKET };

	memcpy(at, bytes, PACKET);
	CHECK_EQ(vio_netdrv_send(&c->net, pair, &seg, 1, NULL, at), VIO_OK);
	vio_netdrv_commit(&c->net, pair);
	for (unsigned tries = 0; tries < LONG_MS; tries++) {
		if (vio_netdrv_sent(&c->net, pair))
			return;
		usleep(1000);
	}
	FAIL("pair %u does not send", pair);
}

/* The same packet many times, BURST at a time. */
enum { BURST = 40 };

static void card_send_many(struct card *c, const void *bytes, unsigned n)
{
	unsigned char *at = c->data + VIO_NETDRV_HEADROOM;
	struct vio_seg seg = { at, PACKET };
	unsigned i, tries;

	memcpy(at, bytes, PACKET);
	for (; n; n -= BURST) {
		for (i = 0; i < BURST; i++)
			CHECK_EQ(vio_netdrv_send(&c->net, 0, &seg, 1, NULL,
						 at), VIO_OK);
		vio_netdrv_commit(&c->net, 0);
		for (i = tries = 0; i < BURST; tries++) {
			if (vio_netdrv_sent(&c->net, 0)) {
				i++;
				continue;
			}
			CHECK_LT(tries, 10 * LONG_MS);
			usleep(100);
		}
	}
}

/* From any pair, within @ms milliseconds. False: nothing came. */
static bool card_receive(struct card *c, unsigned ms, unsigned char *bytes)
{
	struct vio_netdrv_packet pkt;

	for (unsigned i = 0; i < ms; i++, usleep(1000))
		for (unsigned k = 0; k < c->net.nr_pairs; k++) {
			if (!vio_netdrv_receive(&c->net, k, &pkt))
				continue;
			CHECK_GE(pkt.len, 42u);
			memcpy(bytes, pkt.seg[0].base, 42);
			vio_netdrv_recycle(&c->net, k, &pkt);
			vio_netdrv_commit(&c->net, k);
			return true;
		}
	return false;
}

static void start(const char *config, const char *more)
{
	char path[128], arg[2][160];
	const char *args[] = { arg[0], arg[1], "--threads=2", more, NULL };
	FILE *f;

	snprintf(path, sizeof(path), "%s/nets.conf", p.dir);
	f = fopen(path, "w");
	CHECK(f != NULL);
	fputs(config, f);
	fclose(f);
	snprintf(arg[0], sizeof(arg[0]), "--config=%s", path);
	snprintf(arg[1], sizeof(arg[1]), "--control-path=%s", p.socket);
	peer_start(&p, "vireo-net", args, -2);
}

static void ask(const char *line, const char *has)
{
	char *answer;

	CHECK_EQ(control_ask(p.socket, line, &answer), 0);
	if (!strstr(answer, has))
		FAIL("no '%s' in: %s", has, answer);
	free(answer);
}

static void fill(unsigned char *at, unsigned from, unsigned to, unsigned n)
{
	memset(at, 0, PACKET);
	at[0] = at[6] = 2;
	at[5] = (unsigned char)to;
	at[11] = (unsigned char)from;
	at[12] = 0x88;
	at[13] = 0xb5;
	at[14] = (unsigned char)n;
}

/* The number behind @key of the first card. */
static unsigned long first_of(const char *key)
{
	char *answer, *at;
	unsigned long n;

	CHECK_EQ(control_ask(p.socket, "list", &answer), 0);
	at = strstr(answer, key);
	CHECK(at != NULL);
	n = strtoul(at + strlen(key), NULL, 10);
	free(answer);
	return n;
}

/*
 * Card two takes nothing for a while: what its port has no room for is lost,
 * and counted; all else comes, whether one address was meant or all.
 */
static void overflow(void)
{
	unsigned long sent = 0, lost = 0, got = 0;
	unsigned char out[PACKET], in[PACKET];

	fill(out, 1, 2, 0);
	for (unsigned all = 0; all < 2; all++) {
		lost = first_of("\"errors\":");
		if (all)
			memset(out, 0xff, 6);
		while (sent < 40000 && first_of("\"errors\":") == lost) {
			card_send_many(&one, out, 10 * BURST);
			sent += 10 * BURST;
		}
	}
	for (unsigned i = 0; i < LONG_MS / 100; i++) {
		while (card_receive(&two, 100, in))
			got++;
		if (got + first_of("\"errors\":") >= sent)
			break;
	}
	CHECK(!card_receive(&two, 20, in));
	CHECK_EQ(got + first_of("\"errors\":"), sent);
}

TEST("cards of one process meet on a switch; one is taken away, a guest on the other does not notice",
     "")
{
	unsigned char out[PACKET], in[PACKET];
	char config[1024];

	peer_init(&p);
	snprintf(config, sizeof(config),
		 "[a]\nbackend = switch=s\nsocket-path = %s/a\n"
		 "mac = 02:00:00:00:00:01\n"
		 "[b]\nbackend = switch=s\nsocket-path = %s/b\n"
		 "mac = 02:00:00:00:00:02\n", p.dir, p.dir);
	setenv("XDG_RUNTIME_DIR", p.dir, 1);
	start(config, NULL);
	card_open(&one, "a", 1);
	card_open(&two, "b", 1);
	for (unsigned i = 0; i < 100; i++) {
		fill(out, 1, 2, i);
		card_send(&one, 0, out);
		CHECK(card_receive(&two, LONG_MS, in));
		CHECK_EQ(in[14], i);
		fill(out, 2, 1, i + 100);
		card_send(&two, 0, out);
		CHECK(card_receive(&one, LONG_MS, in));
		CHECK_EQ(in[14], i + 100);
	}
	overflow();
	ask("link b down", "");
	ask("link c down", "there is no 'c'");
	front_close(&two.f);
	ask("remove b", "");
	ask("list", "\"name\":\"a\"");
	card_send(&one, 0, out);
	CHECK(!card_receive(&one, 20, in));
	front_close(&one.f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	snprintf(config, sizeof(config), "%s/vireo-switch-%u/s", p.dir,
		 (unsigned)getuid());
	CHECK_EQ(rmdir(config), 0);
	*strrchr(config, '/') = 0;
	CHECK_EQ(rmdir(config), 0);
	peer_fini(&p);
}

TEST("what needs a network is added where the sandbox closed with one", "")
{
	static const char *const begins[] = { "null", "user" };
	char config[1024], live[160], line[256];

	if (PEER_SANITIZED || !HAVE_SLIRP)
		SKIP("needs the sandbox and libslirp");
	for (unsigned i = 0; i < 2; i++) {
		peer_init(&p);
		snprintf(config, sizeof(config),
			 "[a]\nbackend = %s\nsocket-path = %s/a\n", begins[i],
			 p.dir);
		snprintf(live, sizeof(live), "--live=%s", p.dir);
		start(config, live);
		snprintf(line, sizeof(line),
			 "add b backend=user socket-path=%s/b", p.dir);
		ask(line, i ? "\"ok\":true" : "without a network");
		snprintf(line, sizeof(line),
			 "add c backend=user restrict socket-path=%s/c", p.dir);
		ask(line, "\"ok\":true");
		CHECK_EQ(peer_end(&p, SIGTERM), 0);
		peer_fini(&p);
	}
}

TEST("the names of two switches are not cut to one", "")
{
	char run[96], config[1024];

	peer_init(&p);
	snprintf(run, sizeof(run), "%s/and-no-more-than4", p.dir);
	CHECK_EQ(mkdir(run, 0700), 0);
	snprintf(config, sizeof(config),
		 "[a]\nbackend = switch=%031d1\nsocket-path = %s/a\n"
		 "[b]\nbackend = switch=%031d2\nsocket-path = %s/b\n", 0,
		 p.dir, 0, p.dir);
	setenv("XDG_RUNTIME_DIR", run, 1);
	start(config, NULL);
	CHECK_EQ(peer_wait(&p), 1);
	CHECK(peer_said(&p, "File name too long"));
	peer_fini(&p);
}

TEST("what takes the place of a card that left does not get its packets", "")
{
	unsigned char out[PACKET], in[PACKET];
	char config[1024], line[256];

	peer_init(&p);
	snprintf(config, sizeof(config),
		 "[a]\nbackend = switch=s\nsocket-path = %s/a\n"
		 "[b]\nbackend = switch=s\nsocket-path = %s/b\n"
		 "[c]\nbackend = switch=s\nsocket-path = %s/c\n",
		 p.dir, p.dir, p.dir);
	setenv("XDG_RUNTIME_DIR", p.dir, 1);
	snprintf(line, sizeof(line), "--live=%s", p.dir);
	start(config, line);
	card_open(&one, "a", 1);
	card_open(&two, "b", 1);
	fill(out, 2, 1, 1);
	card_send(&two, 0, out);
	CHECK(card_receive(&one, LONG_MS, in));
	front_close(&two.f);
	ask("remove b", "\"ok\":true");
	snprintf(line, sizeof(line),
		 "add d backend=switch=s socket-path=%s/d", p.dir);
	ask(line, "\"ok\":true");
	/* The address that was b's is c's now: c hears of it. */
	card_open(&two, "c", 1);
	fill(out, 1, 2, 2);
	card_send(&one, 0, out);
	/* What b once sent to all may have waited for c. */
	do
		CHECK(card_receive(&two, LONG_MS, in));
	while (in[14] != 2);
	front_close(&one.f);
	front_close(&two.f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("--queue-pairs: packets come back on each pair, whether pairs have threads or share one",
     "")
{
	unsigned char out[PACKET], in[PACKET];
	char config[1024];

	for (unsigned many = 0; many < 2; many++) {
		peer_init(&p);
		snprintf(config, sizeof(config),
			 "[a]\nbackend = echo\nsocket-path = %s/a\n"
			 "queue-pairs = %u\n", p.dir, many ? PAIRS : 1);
		start(config, NULL);
		for (unsigned again = 0; again < 3; again++) {
			unsigned pairs = many ? PAIRS : 1;

			card_open(&one, "a", pairs);
			for (unsigned i = 0; i < 8 * pairs; i++) {
				fill(out, 2, 1, i);
				card_send(&one, i % pairs, out);
				CHECK(card_receive(&one, LONG_MS, in));
				CHECK_EQ(in[14], i);
			}
			front_close(&one.f);
		}
		CHECK_EQ(peer_end(&p, SIGTERM), 0);
		peer_fini(&p);
	}
}

/* -- a tap interface with several queues --------------------------------- */

/* In a network of our own. False: that is not allowed here. */
static bool make_tap(const char *name)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct ifreq r = {
		.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
			     IFF_MULTI_QUEUE };
	int fd, s;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	strcpy(r.ifr_name, name);
	if (ioctl(fd, TUNSETIFF, &r) || ioctl(fd, TUNSETPERSIST, 1)) {
		close(fd);
		return false;
	}
	close(fd);
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, "10.9.1.1", &a.sin_addr);
	memcpy(&r.ifr_addr, &a, sizeof(a));
	CHECK_EQ(ioctl(s, SIOCSIFADDR, &r), 0);
	r.ifr_flags = IFF_UP;
	CHECK_EQ(ioctl(s, SIOCSIFFLAGS, &r), 0);
	close(s);
	return true;
}

static void fill_arp(unsigned char *at, unsigned n)
{
	static const unsigned char request[] = {
		255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6,
		0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 9, 1, 2,
		0, 0, 0, 0, 0, 0, 10, 9, 1, 1,
	};

	memset(at, 0, PACKET);
	memcpy(at, request, sizeof(request));
	at[11] = at[27] = (unsigned char)n;
	at[31] = (unsigned char)n;
}

/* Others may come, such as of the host's own IPv6, or what came late. */
static bool host_answers(unsigned n)
{
	unsigned char in[PACKET];
	unsigned others;

	for (others = 0; others < 50 && card_receive(&one, 1000, in); others++)
		if (in[12] == 8 && in[13] == 6 && in[21] == 2 && in[41] == n)
			return true;
	return false;
}

/*
 * What each pair of the card asks, the host answers. Its interface sends
 * nothing before a thread of the kernel has heard that there is a cable.
 */
static void talk_to_host(const char *name, unsigned pairs)
{
	unsigned char out[PACKET];

	card_open(&one, name, pairs);
	for (unsigned i = 0; i < 4 * pairs; i++) {
		unsigned tries = 0;

		fill_arp(out, 100 + i);
		do {
			CHECK_LT(tries++, 60u);
			card_send(&one, i % pairs, out);
		} while (!host_answers(100 + i));
	}
	front_close(&one.f);
}

TEST("--backend=tap with as many queues as pairs: the host answers what each sends",
     "")
{
	if (!make_tap("vt0"))
		SKIP("no tap interface can be made here");
	peer_init(&p);
	PEER_START(&p, "vireo-net", "--backend=tap=vt0", "--queue-pairs=4");
	talk_to_host("socket", PAIRS);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

TEST("--backend=tap: an interface that goes away is told once, the program goes on",
     "")
{
	if (!make_tap("vt4"))
		SKIP("no tap interface can be made here");
	peer_init(&p);
	PEER_START(&p, "vireo-net", "--backend=tap=vt4", "--queue-pairs=4");
	talk_to_host("socket", PAIRS);
	if (system("ip link del vt4"))
		SKIP("needs ip(8)");
	CHECK(peer_says(&p, "vt4 is gone"));
	card_open(&one, "socket", 4);
	front_close(&one.f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

/* A queue of the interface, left open to children. */
static int tap_queue(const char *name, int more)
{
	struct ifreq r = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | more) };
	int fd = open("/dev/net/tun", O_RDWR);

	strcpy(r.ifr_name, name);
	CHECK_GE(fd, 0);
	CHECK_EQ(ioctl(fd, TUNSETIFF, &r), 0);
	return fd;
}

static void refused(const char *arg, const char *why)
{
	PEER_START(&p, "vireo-net", arg);
	CHECK_EQ(peer_wait(&p), 1);
	CHECK(peer_said(&p, why));
}

TEST("--backend=tap=fd: interfaces that somebody else opened; others are named with their cure",
     "")
{
	const int flags = IFF_VNET_HDR | IFF_MULTI_QUEUE;
	char arg[64];
	int fd[2];

	if (!make_tap("vt1"))
		SKIP("no tap interface can be made here");
	fd[0] = tap_queue("vt1", flags);
	fd[1] = tap_queue("vt1", flags);
	peer_init(&p);
	snprintf(arg, sizeof(arg), "--backend=tap=fd:%d:%d", fd[0], fd[1]);
	PEER_START(&p, "vireo-net", arg, "--queue-pairs=2");
	talk_to_host("socket", 2);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	refused(arg, "one descriptor for each pair");
	snprintf(arg, sizeof(arg), "--backend=tap=fd:%d:%d", fd[0], fd[0]);
	PEER_START(&p, "vireo-net", arg, "--queue-pairs=2");
	CHECK_EQ(peer_wait(&p), 1);
	CHECK(peer_said(&p, "a descriptor of its own"));
	refused("--backend=tap=fd:99", "no tap interface");
	close(fd[0]);
	fd[0] = tap_queue("vt2", 0);
	snprintf(arg, sizeof(arg), "--backend=tap=fd:%d", fd[0]);
	refused(arg, "with a virtio header");
	close(fd[0]);
	close(fd[1]);
	peer_fini(&p);
}

static void ask_with(const int *fd, unsigned n, const char *options,
		     const char *has)
{
	char line[256], *answer;

	snprintf(line, sizeof(line), "add b %s socket-path=%s/b", options,
		 p.dir);
	CHECK_EQ(control_ask_with(p.socket, line, fd, n, &answer), 0);
	if (!strstr(answer, has))
		FAIL("no '%s' in: %s", has, answer);
	free(answer);
}

/* How many queues of tap interfaces the program has open. */
static int open_queues(void)
{
	char path[64], to[64];
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", p.pid);
	d = opendir(path);
	CHECK(d != NULL);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, to,
					 sizeof(to) - 1);

		to[len > 0 ? len : 0] = 0;
		n += strstr(to, "/net/tun") != NULL;
	}
	closedir(d);
	return n;
}

TEST("a tap interface is added to a program in its sandbox by what came with the command",
     "")
{
	const int flags = IFF_VNET_HDR | IFF_MULTI_QUEUE;
	char config[256], live[160];
	int fd[4], no[2], i;

	if (!make_tap("vt3"))
		SKIP("no tap interface can be made here");
	peer_init(&p);
	snprintf(config, sizeof(config),
		 "[a]\nbackend = null\nsocket-path = %s/a\n", p.dir);
	snprintf(live, sizeof(live), "--live=%s", p.dir);
	start(config, live);
	for (i = 0; i < 4; i++)
		fd[i] = tap_queue("vt3", flags);
	for (i = 0; i < 3; i++) {
		ask_with(fd, 2, "backend=tap=vt3 queue-pairs=2",
			 "\"ok\":true");
		talk_to_host("b", 2);
		ask("remove b", "\"ok\":true");
	}
	/* What is left over is closed, and the program goes on. */
	i = open_queues();
	ask_with(fd, 4, "backend=null", "\"ok\":true");
	ask("remove b", "\"ok\":true");
	ask_with(fd, 4, "backend=tap=vt3", "\"ok\":true");
	ask("remove b", "\"ok\":true");
	ask_with(fd, 4, "backend=tap", "needs a name");
	ask_with(fd, 4, "backend=null mtu=1", "outside");
	for (unsigned tries = 0; tries < 1000 && open_queues() > i; tries++)
		usleep(10000);
	CHECK_EQ(open_queues(), i);
	CHECK_EQ(pipe(no), 0);
	ask_with(no, 1, "backend=tap=vt3", "no tap interface");
	close(no[0]);
	close(no[1]);
	/* A number of the program's own: what it has already. */
	ask_with(fd, 1, "backend=tap=fd:3", "a program is started with");
	ask("list", "\"name\":\"a\"");
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	for (i = 0; i < 4; i++)
		close(fd[i]);
	peer_fini(&p);
}
