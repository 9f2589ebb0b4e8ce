/* SPDX-License-Identifier: MIT */
/*
 * A console's daemon hands over to a successor: whoever sits at the host's end
 * stays connected, and no byte is lost, in either direction.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vireo/driver_console.h>

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

	for (unsigned i = 0; i < 5000 && got < len; i++) {
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
