/* SPDX-License-Identifier: MIT */
/* The console driver against the console device, in memory. */
#include "loop.h"

#include <vireo/console.h>
#include <vireo/driver_console.h>

/* A terminal that types and shows a known stream, in fits and starts. */
struct terminal {
	struct vtest_rand typed, shown, mood;
	uint64_t typed_left;
	uint64_t shown_bytes;
	bool stuck_in, stuck_out;
	bool moody;
	unsigned char emergency;
	struct vio_console *con;
};

static size_t term_write(void *ctx, const void *src, size_t len)
{
	struct terminal *t = ctx;
	unsigned char expected[64];
	size_t i, n;

	if (t->moody && vtest_below(&t->mood, 4) == 0) {
		len = (size_t)vtest_below(&t->mood, len);
		t->stuck_out = true;
	}
	for (i = 0; i < len; i += n) {
		n = len - i < sizeof(expected) ? len - i : sizeof(expected);
		vtest_fill(&t->shown, expected, n);
		CHECK_MEMEQ((const unsigned char *)src + i, expected, n);
	}
	t->shown_bytes += len;
	return len;
}

static size_t term_read(void *ctx, void *dst, size_t len)
{
	struct terminal *t = ctx;

	if (t->moody && vtest_below(&t->mood, 3) == 0) {
		t->stuck_in = true;
		return 0;
	}
	if (len > t->typed_left)
		len = (size_t)t->typed_left;
	if (t->moody && len > 1)
		len = 1 + (size_t)vtest_below(&t->mood, len);
	vtest_fill(&t->typed, dst, len);
	t->typed_left -= len;
	return len;
}

static void term_emergency(void *ctx, unsigned char byte)
{
	struct terminal *t = ctx;

	t->emergency = byte;
}

static bool term_step(void *ctx)
{
	struct terminal *t = ctx;

	if (t->stuck_out) {
		t->stuck_out = false;
		vio_console_writable(t->con);
		return true;
	}
	if (t->stuck_in) {
		t->stuck_in = false;
		vio_console_readable(t->con);
		return true;
	}
	return false;
}

static const struct vio_console_backend_ops term_ops = {
	.write = term_write,
	.read = term_read,
	.emergency = term_emergency,
};

struct fixture {
	struct loop loop;
	struct vio_console dev;
	struct vio_condrv drv;
	struct terminal term;
};

static void setup(struct fixture *f, unsigned set, bool moody)
{
	const struct vio_console_conf conf = { .cols = 80, .rows = 25 };
	struct vio_vq_limits limits = { .size = 16, .indirect_max = 4 };
	struct vio_features wanted = loop_features(set);

	memset(f, 0, sizeof(*f));
	vio_feature_set(&wanted, VIRTIO_CONSOLE_F_SIZE);
	vio_feature_set(&wanted, VIRTIO_CONSOLE_F_EMERG_WRITE);
	loop_init(&f->loop, VIO_CONSOLE_QUEUES, vio_console_ctx_size,
		  vtest_seed() + set);
	if (set & LOOP_BOUNCE)
		loop_bounce(&f->loop);
	f->term.typed = vtest_rand_init(3);
	f->term.shown = vtest_rand_init(4);
	f->term.mood = vtest_rand_init(vtest_seed() + set);
	f->term.moody = moody;
	f->term.con = &f->dev;
	CHECK_EQ(vio_console_init(&f->dev, &conf, f->loop.queue, &term_ops,
				  &f->term), VIO_OK);
	loop_attach(&f->loop, &f->dev.dev);
	f->loop.backend_step = term_step;
	f->loop.backend_ctx = &f->term;
	CHECK_EQ(vio_condrv_init(&f->drv, &loop_bus, &f->loop, &wanted,
				 &limits, &f->loop.drv_mem), VIO_OK);
}

TEST("console: every byte printed is shown once and in order", "")
{
	struct vtest_rand stream;
	unsigned char *buf;
	struct fixture f;
	unsigned set, i;
	uint64_t sum;

	for (set = 0; set < LOOP_ALL; set++) {
		setup(&f, set, true);
		stream = vtest_rand_init(4);
		buf = loop_buffer(&f.loop, 1000);
		for (sum = 0, i = 0; i < 500; i++) {
			size_t len = 1 + (size_t)vtest_below(&f.loop.rand,
							     1000);

			vtest_fill(&stream, buf, len);
			CHECK_EQ(vio_condrv_print(&f.drv, buf, len), VIO_OK);
			sum += len;
			CHECK_EQ(f.term.shown_bytes, sum);
		}
		CHECK_EQ(f.dev.stats.bytes_out, sum);
		loop_fini(&f.loop);
	}
}

TEST("console: every byte typed arrives once and in order", "")
{
	unsigned char got[333], expected[333];
	struct vtest_rand stream;
	const uint64_t total = 20000;
	struct fixture f;
	unsigned set, idle;
	uint64_t sum;

	for (set = 0; set < LOOP_ALL; set++) {
		setup(&f, set, true);
		stream = vtest_rand_init(3);
		while (loop_step(&f.loop))
			;
		f.term.typed_left = total;
		vio_console_readable(&f.dev);
		for (sum = 0, idle = 0; sum < total && idle < 1000; idle++) {
			size_t len = 1 + (size_t)vtest_below(&f.loop.rand,
							     sizeof(got));
			size_t n = vio_condrv_read(&f.drv, got, len);

			CHECK_LE(n, len);
			vtest_fill(&stream, expected, n);
			CHECK_MEMEQ(got, expected, n);
			sum += n;
			if (n)
				idle = 0;
			loop_step(&f.loop);
		}
		CHECK_EQ(sum, total);
		CHECK_EQ(f.dev.stats.bytes_in, total);
		loop_fini(&f.loop);
	}
}

TEST("console: size, resize, emergency write",
     "console.device.device-initialization.1 "
     "console.device.device-initialization.2")
{
	struct fixture f;

	setup(&f, 0, false);
	CHECK_EQ(f.drv.cols, 80);
	CHECK_EQ(f.drv.rows, 25);
	vio_console_resize(&f.dev, 132, 50);
	CHECK_EQ(loop_config_changes(&f.loop), 1);
	CHECK_EQ(vio_condrv_refresh(&f.drv), VIO_OK);
	CHECK_EQ(f.drv.cols, 132);
	CHECK_EQ(f.drv.rows, 50);
	CHECK_EQ(vio_condrv_emergency(&f.drv, '!'), VIO_OK);
	CHECK_EQ(f.term.emergency, '!');
	CHECK_EQ(vio_drv_reset(&f.drv.drv), VIO_OK);
	CHECK_EQ(vio_condrv_emergency(&f.drv, '?'), VIO_OK);
	CHECK_EQ(f.term.emergency, '?');
	loop_fini(&f.loop);
}
