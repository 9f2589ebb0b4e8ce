/* SPDX-License-Identifier: MIT */
/* The wires of vireo-net that are files and streams. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vireo/driver_net.h>

#include "test/host/peer.h"
#include "vtest.h"

#define PACKET 60u
/* A file begins when the driver is ready, which asks for more than its own
 * address a moment later. */
#define MINE "--mac=02:00:00:00:00:01"

static struct peer p;
static struct front f;
static struct vio_netdrv net;
static unsigned char *data;

static void card_open(void)
{
	struct vio_netdrv_conf c = {
		.wanted = vio_netdrv_features(),
		.limits = { .size = 64, .indirect_max = 4 },
		.rx_buffers = 32, .rx_len = 2048,
	};

	CHECK(front_open_as(&f, p.socket, -1, true));
	CHECK_EQ(vio_netdrv_init(&net, &vhu_client_bus, f.client, &c,
				 &f.drv_mem), VIO_OK);
	CHECK_EQ(vio_netdrv_command(&net, VIRTIO_NET_CTRL_RX,
				    VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1),
		 VIO_OK);
	data = front_data(&f, 64 * 2048);
}

/* A packet of type 0x88b5 (of IEEE's for experiments) or another. */
static void fill(unsigned char *at, unsigned n, unsigned type)
{
	memset(at, 0, PACKET);
	memcpy(at, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02", 12);
	at[12] = (unsigned char)(type >> 8);
	at[13] = (unsigned char)type;
	at[14] = (unsigned char)n;
}

static void card_send(unsigned n, unsigned type)
{
	unsigned char *at = data + n % 64 * 2048 + VIO_NETDRV_HEADROOM;
	struct vio_seg seg = { at, PACKET };

	fill(at, n, type);
	CHECK_EQ(vio_netdrv_send(&net, 0, &seg, 1, NULL, at), VIO_OK);
	vio_netdrv_commit(&net, 0);
	for (unsigned tries = 0; tries < 30000; tries++) {
		if (vio_netdrv_sent(&net, 0))
			return;
		usleep(1000);
	}
	CHECK(!"sent");
}

/* The next packet's number, or -1 after @ms milliseconds. */
static int card_receive(unsigned ms)
{
	struct vio_netdrv_packet pkt;
	int n;

	for (unsigned i = 0; i < ms; i++) {
		if (vio_netdrv_receive(&net, 0, &pkt)) {
			CHECK_EQ(pkt.len, PACKET);
			n = ((unsigned char *)pkt.seg[0].base)[14];
			vio_netdrv_recycle(&net, 0, &pkt);
			vio_netdrv_commit(&net, 0);
			return n;
		}
		usleep(1000);
	}
	return -1;
}

static void card_close(void)
{
	front_close(&f);
}

#ifdef HAVE_PCAP
#define NEEDS_PCAP() ((void)0)
#else
#define NEEDS_PCAP() SKIP("this build has no libpcap")
#endif

/* -- files --------------------------------------------------------------- */

/* Packets of a pcap file in this machine's byte order, or -1. */
static int count_records(const char *path, unsigned want_type)
{
	unsigned char head[24], rec[16], bytes[PACKET];
	uint32_t magic, len;
	FILE *file = fopen(path, "r");
	int n = 0;

	if (!file || fread(head, sizeof(head), 1, file) != 1)
		return -1;
	memcpy(&magic, head, 4);
	CHECK_EQ(magic, 0xa1b23c4d);
	while (fread(rec, sizeof(rec), 1, file) == 1) {
		memcpy(&len, rec + 8, 4);
		CHECK_EQ(len, PACKET);
		CHECK_EQ(fread(bytes, PACKET, 1, file), 1);
		CHECK_EQ((unsigned)(bytes[12] << 8 | bytes[13]), want_type);
		n++;
	}
	fclose(file);
	return n;
}

TEST("vireo-net --record: both ways, filtered, whole while it runs; what was recorded is replayed in its order",
     "")
{
	char record[160], replay[160], path[128];

	NEEDS_PCAP();
	peer_init(&p);
	snprintf(path, sizeof(path), "%s/r.pcap", p.dir);
	snprintf(record, sizeof(record), "--record=%s", path);
	PEER_START(&p, "vireo-net", "--backend=echo", record,
		   "--filter=ether proto 0x88b5");
	card_open();
	for (unsigned i = 0; i < 8; i++) {
		card_send(2 * i, 0x88b5);
		card_send(2 * i + 1, 0x88b6);
		CHECK_EQ(card_receive(30000), (int)(2 * i));
		CHECK_EQ(card_receive(30000), (int)(2 * i + 1));
	}
	/* Not closed yet. */
	CHECK_EQ(count_records(path, 0x88b5), 16);
	card_close();
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK_EQ(count_records(path, 0x88b5), 16);

	snprintf(replay, sizeof(replay), "--backend=pcap=%s", path);
	PEER_START(&p, "vireo-net", replay, MINE, "--filter=ether[14] != 4");
	card_open();
	for (unsigned i = 0; i < 8; i++) {
		if (i == 2)
			continue;
		CHECK_EQ(card_receive(30000), (int)(2 * i));
		CHECK_EQ(card_receive(30000), (int)(2 * i));
	}
	CHECK_EQ(card_receive(50), -1);
	card_send(1, 0x88b5);	/* goes nowhere */
	card_close();
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	peer_fini(&p);
}

static void put32(FILE *file, uint32_t v)
{
	CHECK_EQ(fwrite(&v, 4, 1, file), 1);
}

/* A file of 3 packets, @apart seconds apart, of link type @link. */
static void write_pcap(const char *path, uint32_t link, uint32_t apart,
		       uint32_t caplen)
{
	unsigned char pkt[PACKET];
	FILE *file = fopen(path, "w");

	put32(file, 0xa1b2c3d4);
	put32(file, 2 | 4 << 16);
	put32(file, 0);
	put32(file, 0);
	put32(file, 65535);
	put32(file, link);
	for (unsigned i = 0; i < 3; i++) {
		put32(file, 1000 + i * apart);
		put32(file, 0);
		put32(file, i == 1 ? caplen : PACKET);
		put32(file, PACKET);
		fill(pkt, i, 0x88b5);
		CHECK_EQ(fwrite(pkt, i == 1 ? caplen : PACKET, 1, file), 1);
	}
	fclose(file);
}

TEST("vireo-net --backend=pcap: as far apart as they were, or --replay-fast; a packet that was cut is left out",
     "")
{
	char replay[160], path[128];

	NEEDS_PCAP();
	peer_init(&p);
	snprintf(path, sizeof(path), "%s/r.pcap", p.dir);
	snprintf(replay, sizeof(replay), "--backend=pcap=%s", path);
	write_pcap(path, 1, 3600, PACKET);
	PEER_START(&p, "vireo-net", replay, MINE);
	card_open();
	CHECK_EQ(card_receive(30000), 0);
	CHECK_EQ(card_receive(100), -1);
	card_close();
	CHECK_EQ(peer_end(&p, SIGTERM), 0);

	write_pcap(path, 1, 3600, PACKET / 2);
	PEER_START(&p, "vireo-net", replay, MINE, "--replay-fast");
	card_open();
	CHECK_EQ(card_receive(30000), 0);
	CHECK_EQ(card_receive(30000), 2);
	CHECK_EQ(card_receive(50), -1);
	card_close();
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK(peer_said(&p, "1 packets of the file were cut short"));
	peer_fini(&p);
}

TEST("vireo-net: files, filters and streams that cannot be are named with their cure",
     "")
{
	char wifi[160], torn[160], path[128];

	NEEDS_PCAP();
	peer_init(&p);
	snprintf(path, sizeof(path), "%s/w.pcap", p.dir);
	snprintf(wifi, sizeof(wifi), "--backend=pcap=%s", path);
	write_pcap(path, 105, 0, PACKET);
	snprintf(path, sizeof(path), "%s/t.pcap", p.dir);
	snprintf(torn, sizeof(torn), "--backend=pcap=%s", path);
	write_pcap(path, 1, 0, PACKET);
	CHECK_EQ(truncate(path, 11), 0);
	const char *const wrong[][3] = {
		{ wifi, NULL, "only Ethernet can be replayed" },
		{ torn, NULL, "truncated" },
		{ "--backend=pcap=/nowhere/x.pcap", NULL, "No such file" },
		{ "--backend=null", "--filter=tcp", "--filter is for" },
		{ "--backend=null", "--replay-fast", "--replay-fast is for" },
		{ "--backend=null", "--record=/nowhere/x", "No such file" },
		{ "--backend=stream=/nowhere/x", NULL,
		  "start the other end first" },
	};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		PEER_START(&p, "vireo-net", wrong[i][0],
			   wrong[i][1] ? wrong[i][1] : "--poll-us=0");
		CHECK_EQ(peer_wait(&p), 1);
		CHECK(peer_said(&p, wrong[i][2]));
	}
	PEER_START(&p, "vireo-net", "--backend=null", "--record=/dev/null",
		   "--filter=frobnicate");
	CHECK_EQ(peer_wait(&p), 1);
	CHECK(peer_said(&p, "see pcap-filter(7)"));
	peer_fini(&p);
}

TEST("vireo-net --record on a full disk: said once, packets pass on", "")
{
	NEEDS_PCAP();
	peer_init(&p);
	PEER_START(&p, "vireo-net", "--backend=echo", "--record=/dev/full");
	CHECK_EQ(peer_wait(&p), 1);
	CHECK(peer_said(&p, "No space left"));
	peer_fini(&p);
}

/* -- streams ------------------------------------------------------------- */

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(strlen(path) < sizeof(a.sun_path));
	memcpy(a.sun_path, path, strlen(path) + 1);
	CHECK_EQ(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(listen(fd, 1), 0);
	return fd;
}

static void frame_send(int fd, unsigned n, unsigned cut)
{
	unsigned char bytes[4 + PACKET] = { 0, 0, 0, PACKET };

	fill(bytes + 4, n, 0x88b5);
	CHECK_EQ(send(fd, bytes, cut, 0), (ssize_t)cut);
	usleep(1000);
	CHECK_EQ(send(fd, bytes + cut, sizeof(bytes) - cut, 0),
		 (ssize_t)(sizeof(bytes) - cut));
}

static int frame_receive(int fd)
{
	unsigned char bytes[4 + PACKET];
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	CHECK_EQ(poll(&pfd, 1, 30000), 1);
	CHECK_EQ(recv(fd, bytes, sizeof(bytes), MSG_WAITALL),
		 (ssize_t)sizeof(bytes));
	CHECK_EQ(bytes[3], PACKET);
	return bytes[4 + 14];
}

static int stream_start(int *listener)
{
	char stream[160], path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/wire", p.dir);
	unlink(path);
	*listener = listen_at(path);
	snprintf(stream, sizeof(stream), "--backend=stream=%s", path);
	PEER_START(&p, "vireo-net", stream);
	fd = accept(*listener, NULL, NULL);
	CHECK(fd >= 0);
	card_open();
	return fd;
}

static void stream_end(int fd, int listener)
{
	card_close();
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	close(fd);
	close(listener);
}

TEST("vireo-net --backend=stream: packets both ways, cut anywhere, and when no one reads for a while",
     "")
{
	unsigned sent = 0;
	int fd, listener, n, last = -1, got = 0;

	peer_init(&p);
	fd = stream_start(&listener);
	for (unsigned cut = 1; cut < 4 + PACKET; cut++) {
		frame_send(fd, cut, cut);
		CHECK_EQ(card_receive(30000), (int)cut);
		card_send(cut, 0x88b5);
		CHECK_EQ(frame_receive(fd), (int)cut);
	}
	/* Until the socket is full, and more: the rest is lost, none torn. */
	for (; sent < 1500; sent++)
		card_send(sent, 0x88b5);
	while (recv(fd, &n, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
		n = frame_receive(fd);
		CHECK(got < 200 ? n == (last + 1) % 256 : n >= 0);
		last = n;
		got++;
		usleep(got % 64 ? 0 : 1000);
	}
	CHECK(got > 200);
	card_send(77, 0x88b5);
	CHECK_EQ(frame_receive(fd), 77);
	stream_end(fd, listener);
	peer_fini(&p);
}

TEST("vireo-net --backend=stream: lengths that cannot be, and an end: said once, the guest goes on",
     "")
{
	static const unsigned char bad[][4] = {
		{ 0, 0, 0, 13 }, { 0, 2, 0, 0 }, { 0xff, 0xff, 0xff, 0xff },
		{ 0, 0, 0, 0 },
	};
	int fd, listener;

	peer_init(&p);
	for (unsigned i = 0; i < 4; i++) {
		fd = stream_start(&listener);
		frame_send(fd, i, 4);
		CHECK_EQ(card_receive(30000), (int)i);
		CHECK_EQ(send(fd, bad[i], 4, 0), 4);
		CHECK(peer_says(&p, "speaks another language"));
		card_send(1, 0x88b5);
		stream_end(fd, listener);
	}
	fd = stream_start(&listener);
	shutdown(fd, SHUT_RDWR);
	CHECK(peer_says(&p, "closed the connection"));
	card_send(1, 0x88b5);
	stream_end(fd, listener);
	peer_fini(&p);
}
