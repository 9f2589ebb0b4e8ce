/* SPDX-License-Identifier: MIT */
/* vireo-net with several cards, and cards with several pairs of queues. */
#include <arpa/inet.h>
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
#include <unistd.h>
#include <vireo/driver_net.h>

#include "host/control_client.h"
#include "test/host/peer.h"
#include "vtest.h"

#ifndef HAVE_SLIRP
#define HAVE_SLIRP 0
#endif
#define PACKET	60u
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
	for (unsigned tries = 0; tries < 5000; tries++) {
		if (vio_netdrv_sent(&c->net, pair))
			return;
		usleep(1000);
	}
	FAIL("pair %u does not send", pair);
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
		CHECK(card_receive(&two, 5000, in));
		CHECK_EQ(in[14], i);
		fill(out, 2, 1, i + 100);
		card_send(&two, 0, out);
		CHECK(card_receive(&one, 5000, in));
		CHECK_EQ(in[14], i + 100);
	}
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
				CHECK(card_receive(&one, 5000, in));
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

TEST("--backend=tap with as many queues as pairs: the host answers what each sends",
     "")
{
	unsigned char out[PACKET], in[PACKET];

	if (!make_tap("vt0"))
		SKIP("no tap interface can be made here");
	peer_init(&p);
	PEER_START(&p, "vireo-net", "--backend=tap=vt0", "--queue-pairs=4");
	card_open(&one, "socket", PAIRS);
	for (unsigned i = 0; i < 4 * PAIRS; i++) {
		unsigned tries = 0;

		fill_arp(out, 100 + i);
		card_send(&one, i % PAIRS, out);
		/* Others may come, such as of the host's own IPv6. */
		do {
			CHECK(card_receive(&one, 5000, in));
			CHECK_LT(++tries, 50u);
		} while (in[12] != 8 || in[13] != 6 || in[21] != 2);
		CHECK_EQ(in[41], 100 + i);
	}
	front_close(&one.f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}
