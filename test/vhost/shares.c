/* SPDX-License-Identifier: MIT */
/*
 * The memory that our front end shares: more regions than the window, coming
 * and going while a ring runs, and the log of what the back end wrote to.
 */
#define _GNU_SOURCE
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost/client.h"

#define PAGE	4096u
#define MORE	(16 * PAGE)	/* behind the window, another file */

static struct pair p;
static int more;
static unsigned char *host;	/* window and more, in one piece */

/* The driver's window is larger than the client's by another file. */
static void set_up(uint64_t protocol_off)
{
	pair_open(&p, &(struct vhu_conf){ .env = fe_env() });
	more = memfd_create("more", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(more, 2 * PAGE + MORE), 0);
	host = mmap(NULL, PAIR_WINDOW + MORE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(host != MAP_FAILED);
	munmap(p.mem.window.host, PAIR_WINDOW);
	CHECK(mmap(host, PAIR_WINDOW, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, p.conf.mem_fd, 0) == host);
	CHECK(mmap(host + PAIR_WINDOW, MORE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, more, 2 * PAGE) ==
	      host + PAIR_WINDOW);
	p.mem.window.host = host;
	p.conf.window = p.mem.window;
	p.conf.protocol_off = protocol_off;
	CHECK_EQ(pair_connect(&p), 0);
	p.mem.window.size += MORE;
	p.data = host + PAIR_RINGS;
}

static void tear_down(void)
{
	p.mem.window.host = host;
	pair_close(&p);
	munmap(host + PAIR_WINDOW, MORE);
	close(more);
}

static unsigned regions(void)
{
	struct vhu_info info;

	vhu_server_info(p.f.s, &info);
	return info.mem_regions;
}

static const struct vio_window *second(void)
{
	static struct vio_window w;

	w.addr = vio_addr_of(PAIR_GUEST + PAIR_WINDOW);
	w.host = host + PAIR_WINDOW;
	w.size = MORE;
	return &w;
}

static void come_and_go(bool early)
{
	struct vio_window w = *second();

	if (!early)
		pair_drive(&p, 0);
	CHECK_EQ(vhu_client_add_memory(p.c, &w, more, 2 * PAGE), 0);
	CHECK_EQ(vhu_client_add_memory(p.c, &w, more, 2 * PAGE), -EEXIST);
	if (early)
		pair_drive(&p, 0);
	CHECK_EQ(regions(), 2);
	p.data = host + PAIR_WINDOW + 3 * PAGE;
	pair_exchange(&p);
	CHECK_EQ(vhu_client_remove_memory(p.c, w.addr), 0);
	CHECK_EQ(vhu_client_remove_memory(p.c, w.addr), -ENOENT);
	CHECK_EQ(regions(), 1);
	p.data = host + PAIR_RINGS;
	pair_exchange(&p);
	CHECK_EQ(vhu_client_add_memory(p.c, &w, more, 2 * PAGE), 0);
	p.data = host + PAIR_WINDOW + 5 * PAGE;
	pair_exchange(&p);
	CHECK_EQ(p.f.ended, 0);
}

TEST("vhost shares: memory comes and goes while a ring runs", "")
{
	static const uint64_t off[] = { 0, VHU_PF(CONFIGURE_MEM_SLOTS) };

	for (unsigned i = 0; i < 2 * VIO_ARRAY_LEN(off); i++) {
		set_up(off[i / 2]);
		CHECK_EQ(!(vhu_client_protocol_features(p.c) &
			   VHU_PF(CONFIGURE_MEM_SLOTS)), i / 2);
		come_and_go(i % 2);
		tear_down();
	}
}

TEST("vhost shares: what is no memory, and too much of it", "")
{
	struct vio_window w = *second();
	unsigned i;

	set_up(VHU_PF(CONFIGURE_MEM_SLOTS));
	w.size = 0;
	CHECK_EQ(vhu_client_add_memory(p.c, &w, more, 0), -EINVAL);
	w.size = MORE;
	w.addr = vio_addr_of(UINT64_MAX - MORE + 2);
	CHECK_EQ(vhu_client_add_memory(p.c, &w, more, 0), -EINVAL);
	w.addr = vio_addr_of(PAIR_GUEST - PAGE);
	CHECK_EQ(vhu_client_add_memory(p.c, &w, more, 0), -EEXIST);
	w.addr = vio_addr_of(PAIR_GUEST);
	CHECK_EQ(vhu_client_remove_memory(p.c, w.addr), -ENOENT);
	/* Eight in a table. */
	for (i = 1; ; i++) {
		int err;

		w.addr = vio_addr_of(0x100000000ull * i);
		err = vhu_client_add_memory(p.c, &w, more, 0);
		if (err) {
			CHECK_EQ(err, -ENOSPC);
			break;
		}
	}
	CHECK_EQ(i, 8);
	pair_drive(&p, 0);
	CHECK_EQ(regions(), 8);
	tear_down();
}

/* -- the log -------------------------------------------------------------- */

static unsigned char marked[(PAIR_WINDOW + MORE) / PAGE];

static void mark(void *ctx, vio_addr page)
{
	unsigned *nr = ctx;

	CHECK_EQ(page.v % PAGE, 0);
	CHECK_GE(page.v, PAIR_GUEST);
	CHECK_LT(page.v - PAIR_GUEST, PAIR_WINDOW + MORE);
	marked[(page.v - PAIR_GUEST) / PAGE]++;
	++*nr;
}

static unsigned page_of(const void *at)
{
	return (unsigned)((const unsigned char *)at - host) / PAGE;
}

/* Marked are the pages of the answers, and what the ring itself writes. */
static void check_log(unsigned nr, const unsigned *pages, unsigned first_ring)
{
	unsigned got = 0, others = 0;

	memset(marked, 0, sizeof(marked));
	CHECK_EQ(vhu_client_log_take(p.c, mark, &got), got);
	for (unsigned i = 0; i < nr; i++) {
		CHECK_EQ(marked[pages[i]], 1);
		marked[pages[i]] = 0;
	}
	for (unsigned i = first_ring; i < sizeof(marked); i++)
		others += marked[i];
	CHECK_EQ(others, 0);
	/* The used ring, or descriptors: one or two pages in front. */
	CHECK_GE(got, nr + 1);
	CHECK_LE(got, nr + 2);
}

static void log_some(uint64_t features)
{
	unsigned pages[3], rings = PAIR_RINGS / PAGE, got = 0;
	struct pollfd e;

	pair_drive(&p, features);
	pair_exchange(&p);
	CHECK_EQ(vhu_client_log_take(p.c, mark, &got), 0);
	CHECK_EQ(vhu_client_log_start(p.c), 0);
	CHECK_EQ(vhu_client_log_start(p.c), -EALREADY);
	CHECK_EQ(vhu_client_add_memory(p.c, &(struct vio_window){
		.addr = vio_addr_of(0), .host = host, .size = PAGE,
	}, more, 0), -EBUSY);
	for (unsigned i = 0; i < 3; i++) {
		p.data = host + PAIR_RINGS + (i == 2 ? PAIR_WINDOW - PAIR_RINGS
						     : i * 7 * PAGE);
		pages[i] = page_of(p.data);
		pair_exchange(&p);
	}
	e = (struct pollfd){ vhu_client_log_fd(p.c), POLLIN, 0 };
	CHECK_EQ(poll(&e, 1, 30000), 1);
	check_log(3, pages, rings);
	CHECK_EQ(vhu_client_log_take(p.c, mark, &got), 0);
	/* A driver that comes while it is on. */
	CHECK_EQ(vio_drv_reset(&p.drv), VIO_OK);
	vhu_client_log_take(p.c, mark, &got);
	pair_drive(&p, features);
	pair_exchange(&p);
	check_log(1, &pages[2], rings);
	CHECK_EQ(vhu_client_log_stop(p.c), 0);
	CHECK_EQ(vhu_client_log_fd(p.c), -1);
	pair_exchange(&p);
	CHECK_EQ(p.f.ended, 0);
}

TEST("vhost shares: the log has the pages written to, and no others", "")
{
	static const uint64_t features[] = { 0, 1ull << 34, 1ull << 29 };

	for (unsigned i = 0; i < VIO_ARRAY_LEN(features); i++) {
		set_up(0);
		CHECK_EQ(vhu_client_add_memory(p.c, second(), more, 2 * PAGE),
			 0);
		log_some(features[i]);
		tear_down();
	}
}

TEST("vhost shares: who gets the log cannot cut it short", "")
{
	unsigned got = 0;

	set_up(0);
	pair_drive(&p, 0);
	CHECK_EQ(vhu_client_log_start(p.c), 0);
	/* The descriptor is the one that the back end was given. */
	CHECK_EQ(ftruncate(p.c->log.fd, 0), -1);
	CHECK_EQ(ftruncate(p.c->log.fd, 1 << 30), -1);
	pair_exchange(&p);
	CHECK_GE(vhu_client_log_take(p.c, mark, &got), 1);
	tear_down();
}

TEST("vhost shares: no log where the back end has none", "")
{
	set_up(VHU_PF(LOG_SHMFD));
	pair_drive(&p, 0);
	CHECK_EQ(vhu_client_log_start(p.c), -EOPNOTSUPP);
	CHECK_EQ(vhu_client_log_fd(p.c), -1);
	CHECK_EQ(vhu_client_log_stop(p.c), 0);
	pair_exchange(&p);
	tear_down();
}
