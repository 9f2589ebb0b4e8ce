/* SPDX-License-Identifier: MIT */
/*
 * What the back end asks of our front end: shared memory regions, pages that
 * take notifications, buffers of other devices. Asked by our back end where
 * that is willing, else by hand, with all that is wrong.
 */
#define _GNU_SOURCE
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost/client.h"

#define PAGE	4096u
#define HUGE	(2u << 20)
#define REGION	(16 * PAGE)

static struct pair p;
static const struct vio_shm shm[] = { { 3, 0, REGION } };
static const uint8_t uuid[16] = "an object's name";
static int file;		/* what is shown */
static unsigned guarded;
static int object_fd = -1;

static int shared_object(void *env, const uint8_t of[16])
{
	(void)env;
	return memcmp(of, uuid, 16) ? -ENOENT : file;
}

static void watch_none(void *ctx, void *ptr, size_t len, bool add)
{
	(void)ctx;
	CHECK(ptr != NULL && len > 0 && len % PAGE == 0);
	guarded += add ? 1 : -1;
}

static int object_add(void *ctx, const uint8_t of[16])
{
	int *nr = ctx;

	++*nr;
	return memcmp(of, uuid, 16) ? -EEXIST : 0;
}

static int object_remove(void *ctx, const uint8_t of[16])
{
	int *nr = ctx;

	--*nr;
	return memcmp(of, uuid, 16) ? -ENOENT : 0;
}

static int object_lookup(void *ctx, const uint8_t of[16])
{
	(void)ctx;
	return memcmp(of, uuid, 16) ? -ENOENT : object_fd;
}

static int nr_objects;
static const struct vhu_client_ops ops = {
	.map_guard = watch_none,
	.object_add = object_add,
	.object_remove = object_remove,
	.object_lookup = object_lookup,
};

/* As env_ops of fe.c, but for the hook. */
static struct vhu_env_ops env;

static void set_up(void)
{
	env = *fe_env();
	env.shared_object = shared_object;
	pair_open(&p, &(struct vhu_conf){
		.env = &env, .host_notifiers = true,
	});
	p.f.dev.shm = shm;
	p.f.dev.nr_shm = 1;
	p.conf.ops = &ops;
	p.conf.ops_ctx = &nr_objects;
	p.conf.shmem_max = 1u << 20;
	p.conf.map_notifiers = true;
	file = memfd_create("shown", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(file, REGION), 0);
	for (unsigned i = 0; i < REGION / PAGE; i++)
		CHECK_EQ(pwrite(file, &i, sizeof(i), i * PAGE), sizeof(i));
}

static void tear_down(void)
{
	pair_close(&p);
	CHECK_EQ(guarded, 0);
	close(file);
}

/* -- shared memory -------------------------------------------------------- */

static int map(void *arg)
{
	return vhu_server_shmem_map(p.f.s, arg, file);
}

struct shown {
	struct vhu_shared_area area;
	int fd;
};

static int map_that(void *arg)
{
	const struct shown *what = arg;

	return vhu_server_shmem_map(p.f.s, &what->area, what->fd);
}

static int unmap(void *arg)
{
	return vhu_server_shmem_unmap(p.f.s, arg);
}

/* Can it be read? A child tries, and dies of it if not. */
static bool readable(const volatile unsigned char *at)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(*at & 0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

TEST("vhost asked: a file is shown in a region, and not any more", "")
{
	struct vhu_shared_area a = { 3, true, 4 * PAGE, 2 * PAGE, PAGE };
	struct vio_shm where;
	unsigned char *at;
	uint64_t len;
	unsigned got;

	set_up();
	CHECK_EQ(pair_connect(&p), 0);
	pair_drive(&p, 0);
	at = vhu_client_shmem(p.c, 3, &len);
	CHECK(at != NULL);
	CHECK_EQ(len, REGION);
	CHECK_EQ(vhu_client_bus.shm(p.c, 3, &where), VIO_OK);
	CHECK_EQ(where.base, (uintptr_t)at);
	CHECK_EQ(where.len, REGION);
	CHECK_EQ(vhu_client_bus.shm(p.c, 2, &where), VIO_E_UNSUPP);
	CHECK(!readable(at));
	CHECK_EQ(pair_ask(&p, map, &a), 0);
	CHECK_EQ(guarded, 1);
	CHECK(!readable(at + 3 * PAGE));
	CHECK(readable(at + 4 * PAGE));
	CHECK(!readable(at + 6 * PAGE));
	memcpy(&got, at + 5 * PAGE, sizeof(got));
	CHECK_EQ(got, 2);
	at[4 * PAGE + 8] = 99;
	CHECK_EQ(pread(file, &got, 1, PAGE + 8), 1);
	CHECK_EQ(got & 0xff, 99);
	/* It is in use, in part or whole. */
	CHECK_EQ(pair_ask(&p, map, &a), -EREMOTEIO);
	a.offset += PAGE;
	CHECK_EQ(pair_ask(&p, map, &a), -EREMOTEIO);
	CHECK_EQ(pair_ask(&p, unmap, &a), -EREMOTEIO);
	a.offset -= PAGE;
	a.len = PAGE;
	CHECK_EQ(pair_ask(&p, unmap, &a), -EREMOTEIO);
	a.len = 2 * PAGE;
	pair_exchange(&p);
	CHECK_EQ(pair_ask(&p, unmap, &a), 0);
	CHECK(!readable(at + 4 * PAGE));
	CHECK_EQ(pair_ask(&p, unmap, &a), -EREMOTEIO);
	/* A reset ends all. */
	CHECK_EQ(pair_ask(&p, map, &a), 0);
	CHECK_EQ(vhu_client_shmem_maps(p.c), 1);
	CHECK_EQ(vio_drv_reset(&p.drv), VIO_OK);
	CHECK_EQ(vhu_client_shmem_maps(p.c), 0);
	CHECK(!readable(at + 4 * PAGE));
	tear_down();
}

TEST("vhost asked: shared memory is left alone where nobody wants it", "")
{
	uint64_t len;

	set_up();
	p.conf.shmem_max = 0;
	CHECK_EQ(pair_connect(&p), 0);
	CHECK(!(vhu_client_protocol_features(p.c) & VHU_PF(SHMEM)));
	CHECK(vhu_client_shmem(p.c, 3, &len) == NULL);
	tear_down();
	set_up();
	p.conf.shmem_max = REGION - PAGE;
	CHECK_EQ(pair_connect(&p), -EFBIG);
	tear_down();
}

/*
 * A huge page is mapped whole, however little of it is asked for, where there
 * are some: what is shown beside it would be gone.
 */
TEST("vhost asked: a huge page is shown whole, or not at all", "")
{
	static const struct vio_shm large[] = { { 3, 0, 4 * HUGE } };
	struct vhu_shared_area a = { 3, false, 0, PAGE, PAGE };
	int huge = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB |
				MFD_HUGE_2MB);
	unsigned char *at;
	uint64_t len, whole;
	unsigned got;

	if (huge < 0)
		SKIP("needs a kernel with huge pages of 2 MiB");
	CHECK_EQ(ftruncate(huge, HUGE), 0);
	set_up();
	p.f.dev.shm = large;
	p.conf.shmem_max = 4 * HUGE;
	CHECK_EQ(pair_connect(&p), 0);
	at = vhu_client_shmem(p.c, 3, &len);
	whole = HUGE - (uintptr_t)at % HUGE;
	a.offset = whole + PAGE;
	CHECK_EQ(pair_ask(&p, map, &a), 0);
	a.offset = whole;
	a.fd_offset = 0;
	CHECK_EQ(pair_ask(&p, map_that, (struct shown[]){ { a, huge } }),
		 -EREMOTEIO);
	memcpy(&got, at + whole + PAGE, sizeof(got));
	CHECK_EQ(got, 1);
	CHECK_EQ(vhu_client_shmem_maps(p.c), 1);
	tear_down();
	close(huge);
}

TEST("vhost asked: what one back end had reserved counts for the next", "")
{
	static const struct vio_shm both[] = {
		{ 3, 0, REGION }, { 4, 0, REGION },
	};

	set_up();
	p.conf.shmem_max = REGION + PAGE;
	CHECK_EQ(pair_connect(&p), 0);
	p.f.dev.shm = both + 1;
	CHECK_EQ(vhu_client_ask_shmem(p.c), -ENOTSUP);
	p.f.dev.shm = both;
	p.f.dev.nr_shm = 2;
	CHECK_EQ(vhu_client_ask_shmem(p.c), -EFBIG);
	tear_down();
}

/* -- while the front end waits for an answer ------------------------------ */

static const struct vhu_shared_area first = { 3, false, 0, PAGE, 0 };

static int shown = 1;

/* The device shows something before the stop of its ring is answered. */
static void show_it(struct vio_dev *dev, struct vio_queue *q)
{
	struct fe *f = vio_container_of(dev, struct fe, dev);

	(void)q;
	if (shown == 1)
		shown = vhu_server_shmem_map(f->s, &first, file);
}

TEST("vhost asked: the front end serves while it waits for an answer", "")
{
	struct vio_dev_ops devops;
	uint16_t avail;

	set_up();
	devops = *p.f.dev.ops;
	devops.queue_stop = show_it;
	p.f.dev.ops = &devops;
	CHECK_EQ(pair_connect(&p), 0);
	pair_drive(&p, 0);
	pair_exchange(&p);
	CHECK_EQ(shown, 1);
	CHECK_EQ(vhu_client_stop_queue(p.c, 0, &avail), 0);
	CHECK_EQ(shown, 0);
	CHECK_EQ(vhu_client_shmem_maps(p.c), 1);
	tear_down();
}

/* -- notifications -------------------------------------------------------- */

static int give_page(void *arg)
{
	return vhu_server_host_notifier(p.f.s, 0, *(int *)arg, PAGE, PAGE);
}

TEST("vhost asked: a page takes the place of kicks, and gives it back", "")
{
	uint16_t word = 0xffff;
	int none = -1;

	set_up();
	CHECK_EQ(pair_connect(&p), 0);
	pair_drive(&p, 0);
	pair_exchange(&p);
	CHECK(!vhu_client_host_notified(p.c, 0));
	CHECK_EQ(pwrite(file, &word, 2, PAGE), 2);
	CHECK_EQ(pair_ask(&p, give_page, &file), 0);
	CHECK(vhu_client_host_notified(p.c, 0));
	vhu_client_bus.notify(p.c, 0, 0);
	CHECK_EQ(pread(file, &word, 2, PAGE), 2);
	CHECK_EQ(word, 0);
	CHECK_EQ(pair_ask(&p, give_page, &none), 0);
	CHECK(!vhu_client_host_notified(p.c, 0));
	pair_exchange(&p);
	/* Again and again in the same place; a reset ends it. */
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(pair_ask(&p, give_page, &file), 0);
	CHECK_EQ(guarded, 1);
	CHECK_EQ(vio_drv_reset(&p.drv), VIO_OK);
	CHECK(!vhu_client_host_notified(p.c, 0));
	CHECK_EQ(guarded, 0);
	tear_down();
}

/* Before Linux 6.12 a mapping that fails takes away what was there. */
TEST("vhost asked: a page that cannot be mapped leaves one to write to", "")
{
	int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK_EQ(ftruncate(sealed, REGION), 0);
	CHECK_EQ(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	set_up();
	CHECK_EQ(pair_connect(&p), 0);
	pair_drive(&p, 0);
	CHECK_EQ(pair_ask(&p, give_page, &file), 0);
	CHECK_EQ(pair_ask(&p, give_page, &sealed), -EREMOTEIO);
	CHECK(!vhu_client_host_notified(p.c, 0));
	CHECK_EQ(guarded, 0);
	/* A queue's thread may have looked before that. */
	*(volatile uint16_t *)p.c->ring[0].notifier_page = 1;
	pair_exchange(&p);
	CHECK_EQ(pair_ask(&p, give_page, &file), 0);
	CHECK_EQ(guarded, 1);
	tear_down();
	close(sealed);
}

/* -- buffers -------------------------------------------------------------- */

static int add(void *arg)
{
	return vhu_server_object_add(p.f.s, arg);
}

static int drop(void *arg)
{
	return vhu_server_object_remove(p.f.s, arg);
}

static int lookup(void *arg)
{
	int fd, err = vhu_server_object_lookup(p.f.s, arg, &fd);

	if (!err)
		close(fd);
	return err;
}

TEST("vhost asked: buffers shared between devices, both ways", "")
{
	uint8_t other[16] = { 0 };
	unsigned got = 0;
	int fd;

	set_up();
	CHECK_EQ(pair_connect(&p), 0);
	nr_objects = 0;
	CHECK_EQ(pair_ask(&p, add, (void *)(uintptr_t)uuid), 0);
	CHECK_EQ(nr_objects, 1);
	CHECK_EQ(pair_ask(&p, add, other), -EREMOTEIO);
	CHECK_EQ(pair_ask(&p, drop, (void *)(uintptr_t)uuid), 0);
	CHECK_EQ(nr_objects, 1);
	CHECK_EQ(pair_ask(&p, drop, other), -EREMOTEIO);
	object_fd = file;
	CHECK_EQ(pair_ask(&p, lookup, (void *)(uintptr_t)uuid), 0);
	CHECK_EQ(pair_ask(&p, lookup, other), -EREMOTEIO);
	CHECK_EQ(vhu_client_object(p.c, uuid, &fd), 0);
	CHECK_EQ(pread(fd, &got, sizeof(got), 7 * PAGE), sizeof(got));
	CHECK_EQ(got, 7);
	close(fd);
	CHECK_EQ(vhu_client_object(p.c, other, &fd), -ENOENT);
	CHECK_EQ(fd, -1);
	tear_down();
}
