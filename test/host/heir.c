/* SPDX-License-Identifier: MIT */
/*
 * Daemons with a state of their own hand over to a successor. Of a console
 * whoever sits at the host's end stays connected, and no byte is lost, in
 * either direction; of a network what the driver wants to receive goes along.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vireo/driver_console.h>
#include <vireo/driver_net.h>

#include "test/host/peer.h"
#include "vtest.h"

#define LONG 60000u	/* bytes that nobody reads for a while */

static struct peer old, heir;
static struct front f;
static struct vio_condrv con;
static char upgrade[128], inherit[128], host[100], path[128];

static void con_open(void)
{
	const struct vio_vq_limits limits = { .size = 64, .indirect_max = 4 };
	const struct vio_features all = { { ~0ull, ~0ull } };

	memset(&con, 0, sizeof(con));
	CHECK(front_open(&f, old.socket, -1));
	CHECK_EQ(vio_condrv_init(&con, &vhu_client_bus, f.client, &all,
				 &limits, &f.drv_mem), VIO_OK);
}

static void start(void)
{
	peer_init(&old);
	snprintf(upgrade, sizeof(upgrade), "--upgrade-path=%s/u", old.dir);
	snprintf(inherit, sizeof(inherit), "--inherit=%s/u", old.dir);
	snprintf(host, sizeof(host), "%s/host", old.dir);
	snprintf(path, sizeof(path), "--path=%s", host);
	PEER_START(&old, "vireo-console", "--backend=socket", path, upgrade);
	con_open();
}

/* The old one ends; what it was is the new one's. */
static void succeed(void)
{
	heir = old;
	PEER_START(&heir, "vireo-console", "--backend=socket", path, inherit);
	CHECK_EQ(peer_wait(&old), 0);
	old = heir;
}

static int at_host(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, host);
	CHECK_EQ(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void print(const char *text, size_t len)
{
	char *data = front_data(&f, len);

	memcpy(data, text, len);
	CHECK_EQ(vio_condrv_print(&con, data, len), VIO_OK);
}

static void expect_output(int fd, const char *text, size_t len)
{
	static char got[LONG];
	size_t n = 0;
	ssize_t r;

	while (n < len) {
		r = read(fd, got + n, len - n);
		CHECK_GT(r, 0);
		n += (size_t)r;
	}
	CHECK_MEMEQ(got, text, len);
}

static void expect_input(const char *text)
{
	size_t len = strlen(text), got = 0;
	char buf[64];

	for (unsigned i = 0; i < 30000 && got < len; i++) {
		got += vio_condrv_read(&con, buf + got, sizeof(buf) - got);
		usleep(1000);
	}
	CHECK_EQ(got, len);
	CHECK_MEMEQ(buf, text, len);
}

static void end(void)
{
	front_close(&f);
	CHECK_EQ(peer_end(&old, SIGTERM), 0);
	CHECK_NE(access(host, F_OK), 0);
	peer_fini(&old);
}

TEST("heir: whoever sits at a console stays there", "")
{
	int fd;

	start();
	fd = at_host();
	print("one", 3);
	expect_output(fd, "one", 3);
	for (unsigned i = 0; i < 3; i++) {
		succeed();
		print("two", 3);
		expect_output(fd, "two", 3);
		CHECK_EQ(write(fd, "typed", 5), 5);
		expect_input("typed");
	}
	close(fd);
	/* And the next one can come. */
	fd = at_host();
	print("three", 5);
	expect_output(fd, "three", 5);
	close(fd);
	end();
}

TEST("heir: what nobody has read yet", "")
{
	static char text[LONG];
	int fd;

	for (unsigned i = 0; i < LONG; i++)
		text[i] = (char)('!' + i % 90);
	start();
	print(text, LONG);
	succeed();
	succeed();
	fd = at_host();
	expect_output(fd, text, LONG);
	close(fd);
	end();
}

/* -- a network ------------------------------------------------------------- */

static struct vio_netdrv net;

/* A packet for somebody else comes back from the mirror, or does not. */
static bool comes_back(unsigned char *at)
{
	static const unsigned char other[6] = { 2, 0, 0, 9, 9, 9 };
	struct vio_seg seg = { at + VIO_NETDRV_HEADROOM, 60 };
	struct vio_netdrv_packet pkt;

	memset(seg.base, 0, seg.len);
	memcpy(seg.base, other, 6);
	CHECK_EQ(vio_netdrv_send(&net, 0, &seg, 1, NULL, at), VIO_OK);
	vio_netdrv_commit(&net, 0);
	for (unsigned i = 0; i < 300; i++) {
		vio_netdrv_sent(&net, 0);
		if (vio_netdrv_receive(&net, 0, &pkt)) {
			vio_netdrv_recycle(&net, 0, &pkt);
			return true;
		}
		usleep(1000);
	}
	return false;
}

TEST("heir: what a network's driver wants to receive", "")
{
	static const char mac[] = "--mac=02:00:00:00:00:01";
	struct vio_netdrv_conf c = {
		.wanted = vio_netdrv_features(),
		.limits = { .size = 128, .indirect_max = 4 },
		.rx_buffers = 64, .rx_len = 2048,
	};
	unsigned char *at;

	peer_init(&old);
	snprintf(upgrade, sizeof(upgrade), "--upgrade-path=%s/u", old.dir);
	snprintf(inherit, sizeof(inherit), "--inherit=%s/u", old.dir);
	PEER_START(&old, "vireo-net", "--backend=echo", mac, upgrade);
	CHECK(front_open_as(&f, old.socket, -1, true));
	CHECK_EQ(vio_netdrv_init(&net, &vhu_client_bus, f.client, &c,
				 &f.drv_mem), VIO_OK);
	at = front_data(&f, 2048);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(vio_netdrv_command(&net, VIRTIO_NET_CTRL_RX,
					    VIRTIO_NET_CTRL_RX_PROMISC,
					    i ? "\0" : "\1", 1), VIO_OK);
		heir = old;
		PEER_START(&heir, "vireo-net", "--backend=echo", mac, inherit);
		CHECK_EQ(peer_wait(&old), 0);
		old = heir;
		CHECK_EQ(comes_back(at), !i);
	}
	front_close(&f);
	CHECK_EQ(peer_end(&old, SIGTERM), 0);
	peer_fini(&old);
}
