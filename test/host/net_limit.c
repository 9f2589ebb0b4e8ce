/* SPDX-License-Identifier: MIT */
/* vireo-net with limits: what a guest sends and receives is held to them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vireo/driver_net.h>

#include "host/clock.h"
#include "host/control_client.h"
#include "test/host/peer.h"
#include "vtest.h"

#define PACKET	1000u
#define PAIRS	2u
/* Packets that are under way on a pair: what was held lasts for longer than
 * this program may be kept from running. */
#define BURST	256u
#define WINDOW_MS 300u

static struct peer p, heir;

/* A guest's card. */
struct card {
	struct front f;
	struct vio_netdrv net;
	unsigned char *data;
	unsigned under_way[PAIRS];
	uint64_t sent[PAIRS], all_sent, received;
};

static struct card one, two;

static void card_open(struct card *c, const char *name, unsigned pairs)
{
	struct vio_netdrv_conf conf = {
		.wanted = vio_netdrv_features(), .pairs = pairs,
		.limits = { .size = BURST, .indirect_max = 4 },
		.rx_buffers = BURST / 2, .rx_len = 2048,
	};
	char path[128];

	memset(c, 0, sizeof(*c));
	snprintf(path, sizeof(path), "%s/%s", p.dir, name);
	CHECK(front_open_as(&c->f, path, -1, true));
	CHECK_EQ(vio_netdrv_init(&c->net, &vhu_client_bus, c->f.client, &conf,
				 &c->f.drv_mem), VIO_OK);
	CHECK_EQ(vio_netdrv_command(&c->net, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
		 VIO_OK);
	if (pairs > 1)
		CHECK_EQ(vio_netdrv_set_pairs(&c->net, pairs), VIO_OK);
	c->data = front_data(&c->f, 2048);
	memset(c->data, 0, 2048);
	/* From one card to the other, as a switch learns it. */
	c->data[VIO_NETDRV_HEADROOM] = 2;
	c->data[VIO_NETDRV_HEADROOM + 5] = c == &one ? 2 : 1;
	c->data[VIO_NETDRV_HEADROOM + 6] = 2;
	c->data[VIO_NETDRV_HEADROOM + 11] = c == &one ? 1 : 2;
}

static void card_send(struct card *c, unsigned pair)
{
	struct vio_seg seg = { c->data + VIO_NETDRV_HEADROOM, PACKET };

	CHECK_EQ(vio_netdrv_send(&c->net, pair, &seg, 1, NULL, c), VIO_OK);
	c->under_way[pair]++;
	vio_netdrv_commit(&c->net, pair);
}

static void card_fill(struct card *c, unsigned pair)
{
	while (c->under_way[pair] < BURST)
		card_send(c, pair);
}

/* What was sent, and what came, since the last time. */
static void card_look(struct card *c)
{
	struct vio_netdrv_packet pkt;

	for (unsigned i = 0; i < c->net.nr_pairs; i++) {
		while (vio_netdrv_sent(&c->net, i)) {
			c->under_way[i]--;
			c->sent[i]++;
			c->all_sent++;
		}
		while (vio_netdrv_receive(&c->net, i, &pkt)) {
			CHECK_EQ(pkt.len, PACKET);
			c->received++;
			vio_netdrv_recycle(&c->net, i, &pkt);
		}
		vio_netdrv_commit(&c->net, i);
	}
}

/* Both cards, the first sending all it can. */
static void run(void)
{
	for (unsigned i = 0; i < one.net.nr_pairs; i++)
		card_fill(&one, i);
	usleep(500);
	card_look(&one);
	if (two.f.client)
		card_look(&two);
}

static void ask(const char *line, const char *has)
{
	char *answer;

	CHECK_EQ(control_ask(p.socket, line, &answer), 0);
	if (!strstr(answer, has))
		FAIL("no '%s' in: %s", has, answer);
	free(answer);
}

/*
 * After the command, *@count grows by @want a second: never by more, and, as
 * soon as nobody keeps the programs from running, by as much.
 */
static void check_rate(const char *line, const uint64_t *count, double want)
{
	uint64_t from = clock_ns(), before;
	/* Two may both have seen what there was. */
	double s, is, too_many = one.net.nr_pairs > 1 ? 64 : 2;

	ask(line, "\"ok\":true");
	run();
	before = *count;
	/* What left before the command may not have come yet. */
	if (strstr(line, " tx-") && count == &two.received)
		too_many += (double)(one.all_sent - two.received);
	do {
		run();
		is = (double)(*count - before);
		s = (double)(clock_ns() - from) / 1e9;
		CHECK(is <= want * s + too_many);
		CHECK(s < 60);
	} while (s < WINDOW_MS / 1e3 || is < want * s * 0.95);
	vtest_note("%.0f a second, %.0f wanted", is / s, want);
}

/* All that is under way is sent within 30 seconds. */
static void drained(struct card *c)
{
	for (unsigned i = 0; i < c->net.nr_pairs; i++)
		for (unsigned tries = 0; c->under_way[i]; tries++) {
			CHECK_LT(tries, 30000u);
			usleep(1000);
			card_look(c);
		}
}

static void start_again(const char *more)
{
	char arg[2][160];
	const char *args[] = { arg[0], arg[1], "--threads=2", more, NULL };

	snprintf(arg[0], sizeof(arg[0]), "--config=%s/nets.conf", p.dir);
	snprintf(arg[1], sizeof(arg[1]), "--control-path=%s", p.socket);
	peer_start(&p, "vireo-net", args, -2);
}

static void start(const char *config)
{
	char path[128];
	FILE *f;

	peer_init(&p);
	setenv("XDG_RUNTIME_DIR", p.dir, 1);
	memset(&two, 0, sizeof(two));
	snprintf(path, sizeof(path), "%s/nets.conf", p.dir);
	f = fopen(path, "w");
	CHECK(f != NULL);
	fprintf(f, config, p.dir, p.dir);
	fclose(f);
	start_again(NULL);
}

static void finish(void)
{
	front_close(&one.f);
	if (two.f.client)
		front_close(&two.f);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

#define TWO_ON_A_SWITCH							\
	"[a]\nbackend = switch=s\nsocket-path = %s/a\n"			\
	"[b]\nbackend = switch=s\nsocket-path = %s/b\n"

TEST("limits: what a guest sends waits in its ring, to the rate; all of it comes",
     "")
{
	start(TWO_ON_A_SWITCH);
	card_open(&one, "a", 1);
	card_open(&two, "b", 1);
	check_rate("limits a tx-packets=500 tx-burst-ms=1000", &two.received,
		   500);
	check_rate("limits a tx-packets=0 tx-bytes=400000", &two.received,
		   400);
	ask("status a", "\"limits\":{\"tx_packets\":0,\"tx_bytes\":400000,"
	    "\"tx_burst_ms\":1000,");
	ask("limits a tx-bytes=0", "\"tx_bytes\":0");
	drained(&one);
	for (unsigned i = 0; i < 30000 && two.received < one.sent[0]; i++) {
		usleep(1000);
		card_look(&two);
	}
	CHECK_EQ(two.received, one.sent[0]);
	ask("list", "\"errors\":0");
	finish();
}

TEST("limits: what a guest receives waits before it; the other port does not",
     "")
{
	start(TWO_ON_A_SWITCH "rx-packets = 1000\n");
	card_open(&one, "a", 1);
	card_open(&two, "b", 1);
	check_rate("limits b rx-packets=500 rx-burst-ms=1000", &two.received,
		   500);
	check_rate("limits b rx-packets=0 rx-bytes=400000", &two.received,
		   400);
	/* Far more than that left the other card meanwhile. */
	for (unsigned i = 0; one.sent[0] <= 3 * two.received; i++) {
		CHECK_LT(i, 10000u);
		run();
	}
	finish();
}

TEST("limits: two pairs on two threads share one rate, and each has its part",
     "")
{
	uint64_t sum = 0, a = 0, b = 0;

	start("[a]\nbackend = null\nsocket-path = %s/a\nqueue-pairs = 2\n"
	      "# %s\n");
	card_open(&one, "a", PAIRS);
	ask("limits a tx-bytes=1", "");
	/* Both have filled their rings when it begins. */
	run();
	memset(one.sent, 0, sizeof(one.sent));
	check_rate("limits a tx-bytes=500000 tx-burst-ms=1000", &one.all_sent,
		   500);
	do {
		run();
		a = one.sent[0];
		b = one.sent[1];
		CHECK_LT(sum++, 10000u);
	} while (a > 2 * b || b > 2 * a);
	vtest_note("%llu and %llu", (unsigned long long)a,
		   (unsigned long long)b);
	finish();
}

/* Processor time of the program, in clock ticks. */
static unsigned long ticks(void)
{
	unsigned long user = 0, sys = 0;
	char path[64], line[512], *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", p.pid);
	f = fopen(path, "r");
	CHECK(f != NULL);
	CHECK(fgets(line, sizeof(line), f) != NULL);
	fclose(f);
	at = strrchr(line, ')');
	CHECK_EQ(sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			&user, &sys), 2);
	return user + sys;
}

/* One packet has gone, and more wait for a long time. */
static void hold(struct card *c)
{
	ask("limits a tx-packets=1 tx-burst-ms=1", "\"tx_packets\":1,");
	for (unsigned i = 0; i < c->net.nr_pairs; i++)
		card_fill(c, i);
	for (unsigned tries = 0; !c->sent[0]; tries++) {
		CHECK_LT(tries, 30000u);
		usleep(1000);
		card_look(c);
	}
	CHECK_GT(c->under_way[0], 10);
}

TEST("limits: who is held costs nothing; a limit that goes lets all go at once",
     "")
{
	unsigned long before;

	start(TWO_ON_A_SWITCH);
	card_open(&one, "a", 1);
	card_open(&two, "b", 1);
	hold(&one);
	before = ticks();
	usleep(300000);
	/* A clock tick is 10 ms. */
	CHECK_LE(ticks() - before, 3);
	ask("metrics a", "vireo_network_limit_packets{direction=\"tx\"} 1\n");
	ask("metrics a", "vireo_network_held_seconds_total"
	    "{direction=\"rx\"} 0.000000\n");
	ask("limits a tx-packets=0", "");
	drained(&one);
	ask("metrics a", "vireo_network_packets_total{queue=\"1\"} 256\n");
	ask("metrics a", "vireo_network_dropped_packets_total{queue=\"1\","
	    "reason=\"wire\"} 0\n");
	finish();
}

TEST("limits: a front end leaves, a card is removed, a program ends, while packets are held",
     "")
{
	char live[160], line[256];

	start("[b]\nbackend = null\nsocket-path = %s/b\n# %s\n");
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	snprintf(live, sizeof(live), "--live=%s", p.dir);
	start_again(live);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(line, sizeof(line),
			 "add a backend=%s queue-pairs=2 socket-path=%s/a",
			 i ? "echo" : "null", p.dir);
		ask(line, "\"ok\":true");
		card_open(&one, "a", PAIRS);
		hold(&one);
		front_close(&one.f);
		/* The next one is held, too: the limit is the card's. */
		card_open(&one, "a", PAIRS);
		card_fill(&one, 1);
		ask("limits a", "\"tx_packets\":1,");
		if (i < 2) {
			ask("remove a", "\"ok\":true");
			front_close(&one.f);
		}
	}
	ask("list", "\"name\":\"b\"");
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	front_close(&one.f);
	peer_fini(&p);
}

TEST("limits: a successor goes on with what its predecessor held", "")
{
	char upgrade[128], inherit[128], control[128], *answer;

	peer_init(&p);
	memset(&two, 0, sizeof(two));
	snprintf(upgrade, sizeof(upgrade), "--upgrade-path=%s/u", p.dir);
	snprintf(inherit, sizeof(inherit), "--inherit=%s/u", p.dir);
	snprintf(control, sizeof(control), "--control-path=%s/c", p.dir);
	PEER_START(&p, "vireo-net", "--backend=null", upgrade, control,
		   "--tx-packets=1", "--mac=02:00:00:00:00:01");
	card_open(&one, "socket", 1);
	card_fill(&one, 0);
	for (unsigned tries = 0; !one.sent[0]; tries++) {
		CHECK_LT(tries, 30000u);
		usleep(1000);
		card_look(&one);
	}
	heir = p;
	PEER_START(&heir, "vireo-net", "--backend=null", inherit, control,
		   "--tx-packets=500", "--mac=02:00:00:00:00:01");
	CHECK_EQ(peer_wait(&p), 0);
	CHECK_LT(one.sent[0], BURST / 4);
	p = heir;
	drained(&one);
	CHECK_EQ(one.sent[0], BURST);
	CHECK_EQ(control_ask(strchr(control, '=') + 1, "limits", &answer), 0);
	CHECK(strstr(answer, "\"tx_packets\":500,") != NULL);
	free(answer);
	finish();
}

TEST("limits: what is none is refused, with what could be said instead", "")
{
	static const char *const bad[] = {
		"limits a tx-packets=", "limits a tx-packets=-1",
		"limits a tx-packets", "limits a tx-bytes=1x",
		"limits a rx-burst-ms=0", "limits a rx-burst-ms=10001",
		"limits a rx-bytes=99999999999999999999999",
		"limits a =1", "limits a ops=1", "limits a tx-packets=5 x",
	};

	start("[a]\nbackend = null\nsocket-path = %s/a\nrx-bytes = 7M\n"
	      "rx-burst-ms = 10000\n# %s\n");
	for (unsigned i = 0; i < VIO_ARRAY_LEN(bad); i++)
		ask(bad[i], "is no limit; they are tx-packets=");
	ask("limits a a a a a a a a", "\"ok\":false");
	/* Of several with a bad one, none is taken. */
	ask("limits a", "{\"tx_packets\":0,\"tx_bytes\":0,\"tx_burst_ms\":50,"
	    "\"rx_packets\":0,\"rx_bytes\":7340032,\"rx_burst_ms\":10000}");
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	PEER_START(&p, "vireo-net", "--backend=null", "--tx-burst-ms=0");
	CHECK_EQ(peer_wait(&p), 2);
	CHECK(peer_said(&p, "--tx-burst-ms"));
	PEER_START(&p, "vireo-net", "--backend=null", "--rx-packets=many");
	CHECK_EQ(peer_wait(&p), 2);
	peer_fini(&p);
}
