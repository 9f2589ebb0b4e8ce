/* SPDX-License-Identifier: MIT */
/* vireo-blk in front of other people's NBD servers: qemu-nbd and nbdkit. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/host/peer.h"
#include "test/listens.h"
#include "vtest.h"

enum { DATA = 8192 };

static struct peer p;
static struct front_disk d;
static pid_t server;
static char nbd[128], uri[256];

static bool have(const char *program)
{
	char line[160];

	snprintf(line, sizeof(line), "command -v %s >/dev/null 2>&1",
		 program);
	return !system(line);
}

static void serve(const char *const *args)
{
	unlink(nbd);
	server = fork();
	CHECK_GE(server, 0);
	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(args[0], (char **)(uintptr_t)args);
		_exit(127);
	}
	for (unsigned i = 0; i < 3000 && !listens(nbd); i++)
		usleep(10000);
	CHECK(listens(nbd));
}

#define SERVE(...) serve((const char *[]){ __VA_ARGS__, NULL })

static void end_server(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

static void begin(void)
{
	peer_init(&p);
	snprintf(nbd, sizeof(nbd), "%s/nbd", p.dir);
	snprintf(uri, sizeof(uri), "--nbd=nbd+unix:///?socket=%s", nbd);
}

static void end(void)
{
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	end_server();
	peer_fini(&p);
}

static void run_line(const char *fmt, const char *a, const char *b)
{
	char line[512];

	snprintf(line, sizeof(line), fmt, a, b);
	CHECK_EQ(system(line), 0);
}

static int put(unsigned queue, uint64_t sector, unsigned seed,
	       unsigned char *buf)
{
	struct vtest_rand r = vtest_rand_init(seed);

	vtest_fill(&r, buf, DATA);
	return disk_run(&d, queue, VIRTIO_BLK_T_OUT, sector, buf, DATA);
}

static void expect(unsigned queue, uint64_t sector, unsigned seed,
		   unsigned char *buf)
{
	struct vtest_rand r = vtest_rand_init(seed);
	unsigned char want[DATA];

	vtest_fill(&r, want, DATA);
	CHECK_EQ(disk_run(&d, queue, VIRTIO_BLK_T_IN, sector, buf, DATA),
		 VIO_OK);
	CHECK_MEMEQ(buf, want, DATA);
}

/* Where a second without an answer is an error: within 30 seconds. */
static void works(void)
{
	unsigned char *buf = front_data(&d.front, DATA);
	struct vtest_rand r = vtest_rand_init(2);
	unsigned char want[DATA];
	unsigned i;

	vtest_fill(&r, want, DATA);
	for (i = 0; i < 300; i++, usleep(100000)) {
		memset(buf, 0, DATA);
		if (!put(0, 8, 2, buf) && !disk_run(&d, 0, VIRTIO_BLK_T_IN, 8,
						    buf, DATA))
			break;
	}
	CHECK_MEMEQ(buf, want, DATA);
}

/* With a second's patience, a busy machine is enough to be refused. */
static void start_impatient(void)
{
	for (unsigned i = 0; i < 30; i++) {
		PEER_START(&p, "vireo-blk", "--backend=nbd", uri,
			   "--num-queues=1", "--reconnect=1");
		if (listens(p.socket))
			break;
		if (peer_wait(&p) && peer_said(&p, "built without libnbd"))
			SKIP("needs libnbd");
	}
	disk_open(&d, p.socket, 1);
	works();
}

static void serve_qcow2(const char *image)
{
	SERVE("qemu-nbd", "-f", "qcow2", "-k", nbd, "-t", "-e", "0",
	      "--discard=unmap", image);
}

TEST("a qcow2 image is reached through qemu-nbd, which may come back", "")
{
	char image[128], raw[128];
	unsigned char *buf, got[DATA], want[DATA];
	struct vtest_rand r = vtest_rand_init(3);
	int fd;

	if (!have("qemu-nbd") || !have("qemu-img"))
		SKIP("needs qemu-nbd and qemu-img");
	begin();
	snprintf(image, sizeof(image), "%s/image.qcow2", p.dir);
	snprintf(raw, sizeof(raw), "%s/image.raw", p.dir);
	run_line("qemu-img create -q -f qcow2 %s 64M%s", image, "");
	serve_qcow2(image);
	PEER_START(&p, "vireo-blk", "--backend=nbd", uri, "--num-queues=2");
	if (peer_said(&p, "built without libnbd"))
		SKIP("needs libnbd");
	disk_open(&d, p.socket, 2);
	CHECK_EQ(d.blk.capacity_sectors, 64 << 11);
	buf = front_data(&d.front, DATA);
	CHECK_EQ(put(0, 8, 1, buf), VIO_OK);
	CHECK_EQ(put(1, 2048, 2, buf), VIO_OK);
	expect(1, 8, 1, buf);
	expect(0, 2048, 2, buf);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIO_OK);
	/* The server dies and comes back: nobody notices. */
	end_server();
	serve_qcow2(image);
	expect(0, 8, 1, buf);
	expect(1, 2048, 2, buf);
	CHECK_EQ(put(1, 2048, 3, buf), VIO_OK);
	CHECK_EQ(disk_run(&d, 1, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIO_OK);
	CHECK(peer_says(&p, "is connected again"));
	disk_close(&d);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	end_server();
	run_line("qemu-img convert -f qcow2 -O raw %s %s", image, raw);
	vtest_fill(&r, want, DATA);
	fd = open(raw, O_RDONLY);
	CHECK_EQ(pread(fd, got, DATA, 2048 * 512), DATA);
	close(fd);
	CHECK_MEMEQ(got, want, DATA);
	peer_fini(&p);
}

TEST("a server's errors reach the guest, and the queue goes on", "")
{
	unsigned char *buf;

	if (!have("nbdkit"))
		SKIP("needs nbdkit");
	begin();
	SERVE("nbdkit", "-f", "-U", nbd, "--filter=error", "memory", "1M",
	      "error-pwrite=ENOSPC", "error-pwrite-rate=1");
	PEER_START(&p, "vireo-blk", "--backend=nbd", uri, "--num-queues=2");
	if (peer_said(&p, "built without libnbd"))
		SKIP("needs libnbd");
	disk_open(&d, p.socket, 2);
	buf = front_data(&d.front, DATA);
	for (unsigned i = 0; i < 20; i++) {
		CHECK_EQ(put(i % 2, 8, i, buf), VIO_E_IO);
		memset(buf, 1, DATA);
		CHECK_EQ(disk_run(&d, i % 2, VIRTIO_BLK_T_IN, 8, buf, DATA),
			 VIO_OK);
		CHECK_EQ(buf[0], 0);
	}
	end();
}

TEST("a server that stays away: requests fail when their time is over", "")
{
	unsigned char *buf;

	if (!have("nbdkit"))
		SKIP("needs nbdkit");
	begin();
	SERVE("nbdkit", "-f", "-U", nbd, "memory", "1M");
	start_impatient();
	buf = front_data(&d.front, DATA);
	end_server();
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 8, buf, DATA), VIO_E_IO);
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 8, buf, DATA), VIO_E_IO);
	/* And work again when it is back. */
	SERVE("nbdkit", "-f", "-U", nbd, "memory", "1M");
	works();
	end();
}

/* Takes connections, as far as the kernel does it, and says nothing. */
static int serve_silence(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(nbd);
	strcpy(a.sun_path, nbd);
	CHECK_EQ(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(listen(fd, 64), 0);
	return fd;
}

TEST("a server that says nothing is not waited for without end", "")
{
	unsigned char *buf;
	int fd;

	if (!have("nbdkit"))
		SKIP("needs nbdkit");
	begin();
	fd = serve_silence();
	PEER_START(&p, "vireo-blk", "--backend=nbd", uri, "--num-queues=1",
		   "--reconnect=1");
	CHECK_EQ(peer_wait(&p), 1);
	if (peer_said(&p, "built without libnbd"))
		SKIP("needs libnbd");
	CHECK(peer_said(&p, "the server does not answer"));
	close(fd);
	peer_fini(&p);
	begin();
	SERVE("nbdkit", "-f", "-U", nbd, "memory", "1M");
	start_impatient();
	buf = front_data(&d.front, DATA);
	end_server();
	fd = serve_silence();
	CHECK_EQ(disk_run(&d, 0, VIRTIO_BLK_T_IN, 8, buf, DATA), VIO_E_IO);
	CHECK(peer_said(&p, "failed: Transport endpoint is not connected"));
	/* And it is tried again. */
	close(fd);
	SERVE("nbdkit", "-f", "-U", nbd, "memory", "1M");
	works();
	end();
}

TEST("TLS with a shared key, also after the connection broke", "")
{
	char key[128], uri_tls[256], psk[160];
	unsigned char *buf;

	if (!have("nbdkit") || !have("psktool"))
		SKIP("needs nbdkit and psktool");
	begin();
	snprintf(key, sizeof(key), "%s/key", p.dir);
	run_line("psktool -u disk -p %s >/dev/null 2>&1%s", key, "");
	snprintf(psk, sizeof(psk), "--tls-psk=%s", key);
	snprintf(uri_tls, sizeof(uri_tls),
		 "--nbd=nbds+unix://disk@/?socket=%s", nbd);
	SERVE("nbdkit", "-f", "-U", nbd, "--tls=require", psk, "memory",
	      "1M");
	PEER_START(&p, "vireo-blk", "--backend=nbd", uri_tls, psk,
		   "--num-queues=1");
	if (peer_said(&p, "built without libnbd"))
		SKIP("needs libnbd");
	disk_open(&d, p.socket, 1);
	buf = front_data(&d.front, DATA);
	CHECK_EQ(put(0, 8, 1, buf), VIO_OK);
	expect(0, 8, 1, buf);
	end_server();
	SERVE("nbdkit", "-f", "-U", nbd, "--tls=require", psk, "memory",
	      "1M");
	CHECK_EQ(put(0, 8, 2, buf), VIO_OK);
	expect(0, 8, 2, buf);
	end();
}

TEST("each of two disks has its own key, also after the connection broke", "")
{
	char key[2][128], psk[160], config[160], path[192];
	unsigned char *buf;
	FILE *f;

	if (!have("nbdkit") || !have("psktool"))
		SKIP("needs nbdkit and psktool");
	begin();
	snprintf(config, sizeof(config), "%s/disks.conf", p.dir);
	f = fopen(config, "w");
	for (unsigned i = 0; i < 2; i++) {
		snprintf(key[i], sizeof(key[i]), "%s/key%u", p.dir, i);
		fprintf(f, "[%u]\nbackend = nbd\nnum-queues = 1\n"
			"nbd = nbds+unix://disk@/?socket=%s\n"
			"tls-psk = %s\nsocket-path = %s/%u.sock\n", i, nbd,
			key[i], p.dir, i);
	}
	fclose(f);
	run_line("psktool -u disk -p %s >/dev/null 2>&1%s", key[0], "");
	run_line("cp %s %s", key[0], key[1]);
	snprintf(psk, sizeof(psk), "--tls-psk=%s", key[0]);
	SERVE("nbdkit", "-f", "-U", nbd, "--tls=require", psk, "memory",
	      "1M");
	snprintf(path, sizeof(path), "--config=%s", config);
	snprintf(config, sizeof(config), "--control-path=%s", p.socket);
	peer_start(&p, "vireo-blk", (const char *[]){ path, config, NULL },
		   -2);
	/* Its control socket is there before its disks are. */
	snprintf(path, sizeof(path), "%s/1.sock", p.dir);
	for (unsigned i = 0; i < 6000 && access(path, F_OK); i++) {
		if (peer_said(&p, "built without libnbd"))
			SKIP("needs libnbd");
		usleep(10000);
	}
	end_server();
	SERVE("nbdkit", "-f", "-U", nbd, "--tls=require", psk, "memory",
	      "1M");
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%u.sock", p.dir, i);
		disk_open(&d, path, 1);
		buf = front_data(&d.front, DATA);
		CHECK_EQ(put(0, 8, 1, buf), VIO_OK);
		expect(0, 8, 1, buf);
		disk_close(&d);
	}
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	end_server();
	peer_fini(&p);
}

TEST("a server that is not there is named, with the cure", "")
{
	begin();
	PEER_START(&p, "vireo-blk", "--backend=nbd", uri);
	CHECK_EQ(peer_wait(&p), 1);
	CHECK(peer_said(&p, "is the server running") ||
	      peer_said(&p, "built without libnbd"));
	peer_fini(&p);
}
