/* SPDX-License-Identifier: MIT */
/* Many disks in one process: from a file, and over the control socket. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/control_client.h"
#include "test/host/peer.h"
#include "vtest.h"

enum { SIZE = 4 << 20, DATA = 8192 };

static struct peer p;
static struct front_disk d;
static char config[128];

static void file_of(char *path, const char *name)
{
	snprintf(path, 128, "%s/%s", p.dir, name);
}

static void make_image(const char *name)
{
	char path[128];
	int fd;

	file_of(path, name);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	CHECK_GE(fd, 0);
	CHECK_EQ(ftruncate(fd, SIZE), 0);
	close(fd);
}

static void __attribute__((format(printf, 1, 2))) write_config(
	const char *fmt, ...)
{
	FILE *f = fopen(config, "w");
	va_list ap;

	CHECK(f != NULL);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
}

static void begin(void)
{
	peer_init(&p);
	file_of(config, "disks.conf");
}

/* The control socket is the one that is waited for. */
static void start(const char *more, const char *more2)
{
	char arg[2][160];
	const char *args[] = { arg[0], arg[1], more, more2, NULL };

	snprintf(arg[0], sizeof(arg[0]), "--config=%s", config);
	snprintf(arg[1], sizeof(arg[1]), "--control-path=%s", p.socket);
	peer_start(&p, "vireo-blk", args, -2);
}

static char *ask(const char *fmt, ...)
{
	static char *answer;
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	free(answer);
	CHECK_EQ(control_ask(p.socket, line, &answer), 0);
	return answer;
}

#define HAS(text, what)							\
	do {								\
		const char *text_ = (text);				\
									\
		if (!strstr(text_, (what)))				\
			FAIL("no '%s' in: %s", (what), text_);		\
	} while (0)

static void end(void)
{
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK_LT(access(p.socket, F_OK), 0);
	peer_fini(&p);
}

/* Write a pattern of the disk's own, and look for it in the image. */
static void exercise(const char *name, unsigned queue, unsigned seed)
{
	char socket[128], image[128];
	unsigned char *out, got[DATA];
	struct vtest_rand r = vtest_rand_init(seed);
	int fd;

	snprintf(socket, sizeof(socket), "%s/%s.sock", p.dir, name);
	file_of(image, name);
	disk_open(&d, socket, queue + 1);
	out = front_data(&d.front, DATA);
	vtest_fill(&r, out, DATA);
	CHECK_EQ(disk_run(&d, queue, VIRTIO_BLK_T_OUT, 8, out, DATA), VIO_OK);
	CHECK_EQ(disk_run(&d, queue, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIO_OK);
	fd = open(image, O_RDONLY);
	CHECK_EQ(pread(fd, got, DATA, 8 * 512), DATA);
	close(fd);
	CHECK_MEMEQ(got, out, DATA);
	disk_close(&d);
}

static void two_disks(void)
{
	begin();
	make_image("a");
	make_image("b");
	write_config("[a]\nblk-file = %s/a\nsocket-path = %s/a.sock\n"
		     "num-queues = 2\n\n[b]\nblk-file = %s/b\n"
		     "socket-path = %s/b.sock\nserial = other\n",
		     p.dir, p.dir, p.dir, p.dir);
}

TEST("a file's sections are disks, each with its own image", "")
{
	char text[2048];

	two_disks();
	start("--num-queues=4", "--threads=2");
	exercise("a", 1, 1);
	exercise("b", 3, 2);
	exercise("a", 0, 3);
	HAS(ask("status"), "\"devices\":2,\"threads\":2}");
	snprintf(text, sizeof(text), "%s", ask("list"));
	HAS(text, "{\"name\":\"a\",\"socket\":\"");
	HAS(text, "\"queues\":2,\"connected\":false,\"stuck\":false,"
	    "\"requests\":4,\"bytes_read\":0,\"bytes_written\":16384,"
	    "\"errors\":0},{\"name\":\"b\"");
	HAS(text, "\"queues\":4,");
	HAS(ask("status a"), "\"device\":\"block\"");
	HAS(ask("ring b 3"), "\"queue\":3");
	HAS(ask("ring b 4"), "no queue '4'");
	HAS(ask("metrics a"), "vireo_written_bytes_total 16384\n");
	HAS(ask("ring c"), "there is no 'c'");
	HAS(ask("throttle b ops=100"), "\"ops\":100");
	HAS(ask("throttle a"), "\"ops\":0");
	HAS(ask("config"), "[b]\nblk-file = ");
	end();
}

TEST("a mistake in the file is told with file, line and cure", "")
{
	static const struct { const char *text, *error; } bad[] = {
		{ "[a]\nsize = big\n",
		  "disks.conf:2: --size: 'big' is no size" },
		{ "[a]\nsiz = 1M\n",
		  "disks.conf:2: unknown option '--siz'; "
		  "did you mean '--size'?" },
		{ "[a]\nread-only = perhaps\n",
		  "--read-only: 'perhaps' is neither 'yes' nor 'no'" },
		{ "[a]\nsize =\n", "--size needs a value" },
		{ "[a]\nthreads = 2\n",
		  "unknown option '--threads'" },
		{ "[a]\nbackend=null\nsize=1M\n",
		  "a: where shall front ends connect?" },
		{ "[a]\nbackend=null\n", "a: --backend=null needs a size" },
		{ "hello\n", "disks.conf:1: a section must come first" },
	};
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin();
		write_config("%s", bad[i].text);
		start(NULL, NULL);
		CHECK_EQ(peer_wait(&p), 1);
		if (!peer_said(&p, bad[i].error))
			FAIL("not said: %s", bad[i].error);
		peer_fini(&p);
	}
}

TEST("disks come and go while others are served", "")
{
	struct front_disk other;
	char live[160], path[128];
	void *data;

	two_disks();
	make_image("c");
	snprintf(live, sizeof(live), "--live=%s", p.dir);
	start(live, NULL);
	file_of(path, "a.sock");
	disk_open(&other, path, 2);
	data = front_data(&other.front, 512);
	for (unsigned i = 0; i < 5; i++) {
		HAS(ask("add c blk-file=%s/c socket-path=%s/c.sock aio=%s",
			p.dir, p.dir, i % 2 ? "threads" : "io_uring"),
		    "\"ok\":true");
		HAS(ask("add c blk-file=%s/c socket-path=%s/c.sock", p.dir,
			p.dir), "there is a 'c' already");
		exercise("c", 0, i);
		CHECK_EQ(disk_run(&other, i % 2, VIRTIO_BLK_T_IN, 0, data,
				  512), VIO_OK);
		HAS(ask("remove c"), "\"ok\":true");
		file_of(path, "c.sock");
		CHECK_LT(access(path, F_OK), 0);
		HAS(ask("remove c"), "there is no 'c'");
	}
	disk_close(&other);
	HAS(ask("remove a"), "\"ok\":true");
	exercise("b", 0, 9);
	HAS(ask("status"), "\"devices\":1,");
	end();
}

/* What vireo-ring says; its exit status. */
static int rings(const char *words, char *text, size_t len)
{
	char command[300];
	FILE *f;

	snprintf(command, sizeof(command),
		 "%s/vireo-ring %s %s --interval-ms=1 2>&1", VIREO_BIN,
		 p.socket, words);
	f = popen(command, "r");
	len = fread(text, 1, len - 1, f);
	text[len] = 0;
	return WEXITSTATUS(pclose(f));
}

TEST("vireo ring shows one of several disks, or each", "")
{
	char socket[128], text[8192];

	two_disks();
	start(NULL, NULL);
	file_of(socket, "a.sock");
	disk_open(&d, socket, 1);
	CHECK_EQ(rings("a", text, sizeof(text)), 0);
	HAS(text, "queue 0: running");
	CHECK_EQ(rings("b", text, sizeof(text)), 0);
	HAS(text, "no front end is connected");
	CHECK_EQ(rings("", text, sizeof(text)), 0);
	HAS(text, "a:\nqueue 0: running");
	HAS(text, "b:\nno front end is connected");
	CHECK_EQ(rings("c", text, sizeof(text)), 3);
	HAS(text, "there is no 'c'");
	disk_close(&d);
	end();
}

TEST("disks of every kind are added within the sandbox", "")
{
	static const char *const kinds[] = {
		"blk-file=%s/c zoned=host-managed zone-size=1M",
		"blk-file=%s/c direct secure-erase stats-file=%s/stats",
		"blk-file=%s/c read-only aio=inline",
		"backend=mem size=1M", "backend=null size=1M num-queues=64",
	};
	char live[160], line[256];

	two_disks();
	make_image("c");
	snprintf(live, sizeof(live), "--live=%s", p.dir);
	start(live, NULL);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		snprintf(line, sizeof(line), kinds[i], p.dir, p.dir);
		HAS(ask("add c %s socket-path=%s/c.sock", line, p.dir),
		    "\"ok\":true");
		HAS(ask("remove c"), "\"ok\":true");
	}
	end();
}

TEST("what cannot be added is refused with the reason", "")
{
	char live[160];

	two_disks();
	snprintf(live, sizeof(live), "--live=%s", p.dir);
	start(live, NULL);
	HAS(ask("add c blk-file=%s/none socket-path=%s/c.sock", p.dir, p.dir),
	    "No such file or directory");
	HAS(ask("add c blk-fil=%s/none", p.dir),
	    "did you mean '--blk-file'?");
	HAS(ask("add c/d blk-file=%s/b", p.dir), "a name is made of");
	HAS(ask("add c blk-file=%s/b socket-path=%s/c.sock", p.dir, p.dir),
	    "in use");
	HAS(ask("add c backend=null size=1M socket-path=%s/b.sock", p.dir),
	    "is in use");
	HAS(ask("add c"), "'add' takes NAME OPTION");
	HAS(ask("add c [d] backend=null"), "'[d]' is not OPTION");
	HAS(ask("add c backend=null #size=1M"), "'#size=1M' is not OPTION");
	HAS(ask("add c =1"), "'=1' is not OPTION");
	if (!PEER_SANITIZED) {
		HAS(ask("add c backend=nbd nbd=nbd://127.0.0.1:1/ "
			"socket-path=%s/c.sock", p.dir), "without a network");
		HAS(ask("add c backend=nbd socket-path=%s/c.sock "
			"nbd=nbds+unix:///?socket=%s/n", p.dir, p.dir),
		    "without a network");
		HAS(ask("add c blk-file=/etc/passwd read-only "
			"socket-path=%s/c.sock", p.dir), "--live=FOLDER");
		HAS(ask("add c backend=null size=1M socket-path=/tmp/c.sock"),
		    "--live=FOLDER");
	}
	exercise("b", 0, 1);
	HAS(ask("status"), "\"devices\":2,");
	end();
}

TEST("a disk with a front end can be removed", "")
{
	char path[128];

	two_disks();
	start(NULL, NULL);
	file_of(path, "a.sock");
	disk_open(&d, path, 2);
	HAS(ask("list"), "\"connected\":true");
	HAS(ask("remove a"), "\"ok\":true");
	HAS(ask("status"), "\"devices\":1,");
	disk_close(&d);
	exercise("b", 0, 4);
	end();
}

/* How many names of kept descriptors the program told, all of them new. */
static unsigned names_told(int manager, char names[2][128])
{
	struct timeval patience = { .tv_sec = 60 };
	char text[256] = "";
	unsigned n = 0;

	setsockopt(manager, SOL_SOCKET, SO_RCVTIMEO, &patience,
		   sizeof(patience));
	while (strncmp(text, "BARRIER", 7)) {
		ssize_t len = recv(manager, text, sizeof(text) - 1, 0);

		CHECK_GT(len, 0);
		text[len] = 0;
		if (sscanf(text, "FDSTORE=1\nFDNAME=%127s", names[n % 2]) == 1)
			n++;
	}
	return n;
}

TEST("sessions are kept by names that tell the longest apart", "")
{
	static const char *const last[] = { "1", "2" };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	static struct front_disk fronts[2];
	char path[128], names[2][128];
	FILE *f;

	begin();
	f = fopen(config, "w");
	for (unsigned i = 0; i < 2; i++)
		fprintf(f, "[%062d%s]\nbackend = null\nsize = 1M\n"
			"socket-path = %s/%s.sock\n", 7, last[i], p.dir,
			last[i]);
	fclose(f);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.60s/notify", p.dir);
	CHECK_EQ(bind(manager, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	start(NULL, NULL);
	unsetenv("NOTIFY_SOCKET");
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s.sock", p.dir, last[i]);
		disk_open(&fronts[i], path, 1);
	}
	kill(p.pid, SIGTERM);
	CHECK_EQ(names_told(manager, names), 2);
	CHECK_EQ(strncmp(names[0], "vireo-session-", 14), 0);
	CHECK(strcmp(names[0], names[1]));
	CHECK_EQ(peer_wait(&p), 0);
	close(manager);
	for (unsigned i = 0; i < 2; i++)
		disk_close(&fronts[i]);
	peer_fini(&p);
}

/* The capacity as the guest sees it, within 30 seconds. */
static void expect_sectors(uint64_t sectors)
{
	unsigned i;

	for (i = 0; i < 3000 && d.blk.capacity_sectors != sectors; i++) {
		usleep(10000);
		CHECK_EQ(vio_blkdrv_refresh(&d.blk), VIO_OK);
	}
	CHECK_EQ(d.blk.capacity_sectors, sectors);
}

TEST("a processor that is not there is told with the cure", "")
{
	begin();
	PEER_START(&p, "vireo-blk", "--backend=null", "--size=1M",
		   "--cpus=1000");
	CHECK_EQ(peer_wait(&p), 1);
	CHECK(peer_said(&p, "there is no processor 1000"));
	peer_fini(&p);
	begin();
	PEER_START(&p, "vireo-blk", "--backend=null", "--size=1M",
		   "--cpus=4294967296");
	CHECK_GT(peer_wait(&p), 0);
	CHECK(peer_said(&p, "is no list of processors"));
	peer_fini(&p);
}

TEST("one of several disks grows", "")
{
	char image[128], socket[128];

	two_disks();
	start(NULL, NULL);
	file_of(image, "b");
	file_of(socket, "b.sock");
	disk_open(&d, socket, 1);
	CHECK_EQ(truncate(image, 2 * SIZE), 0);
	HAS(ask("resize b"), "{\"sectors\":16384}");
	HAS(ask("resize a"), "{\"sectors\":8192}");
	expect_sectors(2 * SIZE / 512);
	disk_close(&d);
	end();
}

/* A successor of what runs; the test goes on with it. */
static void succeed(const char *upgrade)
{
	char arg[3][160];
	const char *args[] = { arg[0], arg[1], arg[2], NULL };
	struct peer old = p;

	snprintf(arg[0], sizeof(arg[0]), "--config=%s", config);
	snprintf(arg[1], sizeof(arg[1]), "--control-path=%s", p.socket);
	snprintf(arg[2], sizeof(arg[2]), "--inherit=%s", upgrade);
	snprintf(p.log, sizeof(p.log), "%.60s/log%d", p.dir, old.pid);
	peer_start(&p, "vireo-blk", args, -2);
	CHECK_EQ(peer_wait(&old), 0);
}

TEST("a successor takes all disks over, with and without front ends", "")
{
	static struct front_disk a, b;
	char path[128], upgrade[128], arg[160];
	unsigned char *out, *in;
	struct vtest_rand r = vtest_rand_init(1);

	two_disks();
	make_image("c");
	snprintf(upgrade, sizeof(upgrade), "%s/upgrade", p.dir);
	snprintf(arg, sizeof(arg), "--upgrade-path=%s", upgrade);
	/* A third one, which nobody uses. */
	FILE *f = fopen(config, "a");

	fprintf(f, "[c]\nblk-file = %s/c\nsocket-path = %s/c.sock\n",
		p.dir, p.dir);
	fclose(f);
	start(arg, NULL);
	file_of(path, "a.sock");
	disk_open(&a, path, 2);
	file_of(path, "b.sock");
	disk_open(&b, path, 1);
	out = front_data(&a.front, DATA);
	in = front_data(&b.front, DATA);
	for (unsigned i = 0; i < 3; i++) {
		vtest_fill(&r, out, DATA);
		CHECK_EQ(disk_run(&a, 1, VIRTIO_BLK_T_OUT, 8, out, DATA),
			 VIO_OK);
		succeed(upgrade);
		CHECK_EQ(disk_run(&b, 0, VIRTIO_BLK_T_IN, 8, in, DATA),
			 VIO_OK);
		memset(out, 0, DATA);
		CHECK_EQ(disk_run(&a, 0, VIRTIO_BLK_T_IN, 8, out, DATA),
			 VIO_OK);
		CHECK(out[0] | out[1] | out[2] | out[3]);
	}
	exercise("c", 0, 5);
	HAS(ask("list"), "\"connected\":true");
	disk_close(&a);
	disk_close(&b);
	exercise("a", 1, 6);
	CHECK_EQ(peer_end(&p, SIGTERM), 0);
	CHECK_LT(access(upgrade, F_OK), 0);
	file_of(path, "a.sock");
	CHECK_LT(access(path, F_OK), 0);
	peer_fini(&p);
}

/* -- what disks cost, and how they share a thread -------------------------- */

/* Of /proc/PID/status, in KiB. */
static unsigned long resident(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/status", p.pid);
	f = fopen(line, "r");
	CHECK(f != NULL);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %lu", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

TEST("fifty idle disks cost less than 8 MiB each", "")
{
	/* Sanitizers take memory of their own, and a while to get it. */
	const unsigned disks = PEER_SANITIZED ? 10 : 50;
	unsigned long kib;
	char name[16], text[32];
	FILE *f;

	begin();
	f = fopen(config, "w");
	for (unsigned i = 0; i < disks; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		make_image(name);
		fprintf(f, "[%s]\nblk-file = %s/%s\naio = io_uring\n"
			"socket-path = %s/%s.sock\n", name, p.dir, name,
			p.dir, name);
	}
	fclose(f);
	/* It would write to memory that is there for large rings alone. */
	unsetenv("MALLOC_PERTURB_");
	start(NULL, NULL);
	snprintf(text, sizeof(text), "\"devices\":%u,", disks);
	HAS(ask("status"), text);
	exercise(name, 0, 1);
	kib = resident();
	vtest_note("%lu KiB for %u disks: %lu each", kib, disks, kib / disks);
	if (!PEER_SANITIZED)
		CHECK_LT(kib / disks, 8192ul);
	end();
}

/* Requests that one client keeps under way on two disks. */
struct load {
	struct front_disk disk;
	struct vio_seg seg[32];
	struct vio_blkdrv_req req[32];
	unsigned nr;
	unsigned long done;
};

static void load_begin(struct load *l, const char *name, unsigned nr,
		       size_t len)
{
	char socket[128];

	snprintf(socket, sizeof(socket), "%s/%s.sock", p.dir, name);
	memset(l, 0, sizeof(*l));
	disk_open(&l->disk, socket, 1);
	l->nr = nr;
	for (unsigned i = 0; i < nr; i++) {
		l->seg[i] = (struct vio_seg){
			front_data(&l->disk.front, len), len
		};
		l->req[i] = (struct vio_blkdrv_req){
			.type = VIRTIO_BLK_T_IN, .seg = &l->seg[i],
			.nr_seg = 1,
		};
		CHECK_EQ(vio_blkdrv_submit(&l->disk.blk, 0, &l->req[i]),
			 VIO_OK);
	}
	vio_blkdrv_commit(&l->disk.blk, 0);
}

static void load_go_on(struct load *l)
{
	struct vio_blkdrv_req *r;
	unsigned n = 0;

	while (n < l->nr && (r = vio_blkdrv_poll(&l->disk.blk, 0))) {
		CHECK_EQ(vio_blkdrv_submit(&l->disk.blk, 0, r), VIO_OK);
		n++;
	}
	if (n)
		vio_blkdrv_commit(&l->disk.blk, 0);
	l->done += n;
}

static void run_two(struct load *a, struct load *b, unsigned long rounds)
{
	while (a->done < rounds) {
		load_go_on(a);
		load_go_on(b);
	}
	disk_close(&a->disk);
	disk_close(&b->disk);
}

static void share(const char *poll)
{
	static struct load a, b;

	begin();
	write_config("[a]\nbackend=mem\nsize=1M\nsocket-path=%s/a.sock\n"
		     "[b]\nbackend=mem\nsize=1M\nsocket-path=%s/b.sock\n",
		     p.dir, p.dir);
	start("--threads=1", poll);
	load_begin(&a, "a", 32, 4096);
	load_begin(&b, "b", 32, 4096);
	run_two(&a, &b, 20000);
	vtest_note("%s, both flood: %lu and %lu", poll, a.done, b.done);
	CHECK_GT(b.done, a.done * 6 / 10);
	CHECK_LT(b.done, a.done * 16 / 10);
	/* Each time that the flooding one had its turn, so has the other. */
	load_begin(&a, "a", 32, 16384);
	load_begin(&b, "b", 1, 4096);
	run_two(&a, &b, 20000);
	vtest_note("%s, one of 32 and one of 1: %lu and %lu", poll, a.done,
		   b.done);
	CHECK_GT(b.done, a.done / 64);
	end();
}

TEST("disks on one thread share it", "")
{
	share("--poll-us=0");
	share("--poll-us=32");
	share("--poll-always");
}

/* Milliseconds of processor time so far. */
static unsigned long busy_ms(void)
{
	unsigned long user = 0, sys = 0;
	char line[512], *at;
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/stat", p.pid);
	f = fopen(line, "r");
	CHECK(f && fgets(line, sizeof(line), f));
	fclose(f);
	at = strrchr(line, ')');
	CHECK(at && sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u "
			   "%*u %lu %lu", &user, &sys) == 2);
	return (user + sys) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

TEST("a disk that always polls does so while it is used, another sleeps", "")
{
	unsigned long before, polling, idle;
	char path[128];

	begin();
	write_config("[a]\nbackend=null\nsize=1M\nsocket-path=%s/a.sock\n"
		     "poll-always\n[b]\nbackend=null\nsize=1M\n"
		     "socket-path=%s/b.sock\n", p.dir, p.dir);
	start("--threads=1", NULL);
	file_of(path, "b.sock");
	disk_open(&d, path, 1);
	before = busy_ms();
	usleep(300000);
	idle = busy_ms() - before;
	disk_close(&d);
	file_of(path, "a.sock");
	disk_open(&d, path, 1);
	before = busy_ms();
	/* On a machine that is busy otherwise it gets little at first. */
	for (unsigned i = 0; i < 600 && busy_ms() - before <= idle + 20; i++)
		usleep(100000);
	polling = busy_ms() - before;
	vtest_note("%lu ms idle in 300 ms, %lu ms polling", idle, polling);
	CHECK_GT(polling, idle + 20);
	disk_close(&d);
	end();
}
