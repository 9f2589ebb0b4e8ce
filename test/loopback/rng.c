/* SPDX-License-Identifier: MIT */
/* The entropy driver against the entropy device, in memory. */
#include "loop.h"

#include <vireo/driver_rng.h>
#include <vireo/rng.h>

/* A source of a known sequence that sometimes runs dry. */
struct source {
	struct vtest_rand rand;		/* what comes out */
	struct vtest_rand mood;
	struct vio_rng *rng;
	bool dry;
	bool moody;
	uint64_t given;
};

static size_t source_fill(void *ctx, void *dst, size_t len)
{
	struct source *s = ctx;

	if (s->moody && vtest_below(&s->mood, 4) == 0) {
		s->dry = true;
		return 0;
	}
	if (s->moody && len > 1)
		len = 1 + vtest_below(&s->mood, len);
	vtest_fill(&s->rand, dst, len);
	s->given += len;
	return len;
}

static bool source_step(void *ctx)
{
	struct source *s = ctx;

	if (!s->dry)
		return false;
	s->dry = false;
	vio_rng_ready(s->rng);
	return true;
}

static const struct vio_rng_source_ops source_ops = { .fill = source_fill };

struct fixture {
	struct loop loop;
	struct vio_rng dev;
	struct vio_rngdrv drv;
	struct source source;
};

static void setup(struct fixture *f, unsigned set, bool moody)
{
	struct vio_vq_limits limits = { .size = 8, .indirect_max = 4 };
	struct vio_features wanted = loop_features(set);

	memset(f, 0, sizeof(*f));
	loop_init(&f->loop, 1, vio_rng_ctx_size, vtest_seed() + set);
	if (set & LOOP_BOUNCE)
		loop_bounce(&f->loop);
	f->source.rand = vtest_rand_init(7);
	f->source.mood = vtest_rand_init(vtest_seed() + 1);
	f->source.rng = &f->dev;
	f->source.moody = moody;
	CHECK_EQ(vio_rng_init(&f->dev, f->loop.queue, &source_ops,
			      &f->source), VIO_OK);
	loop_attach(&f->loop, &f->dev.dev);
	f->loop.backend_step = source_step;
	f->loop.backend_ctx = &f->source;
	CHECK_EQ(vio_rngdrv_init(&f->drv, &loop_bus, &f->loop, &wanted,
				 &limits, &f->loop.drv_mem), VIO_OK);
}

TEST("rng: what the source gives is what the driver gets, in every feature set",
     "entropy.device.device-operation.1 entropy.driver.device-operation.2")
{
	unsigned char expected[5000], *buf;
	struct vtest_rand model;
	struct fixture f;
	unsigned set, i;
	uint32_t got;

	for (set = 0; set < LOOP_ALL; set++) {
		setup(&f, set, true);
		model = vtest_rand_init(7);
		buf = loop_buffer(&f.loop, sizeof(expected));
		for (i = 0; i < 500; i++) {
			uint32_t len = 1 + (uint32_t)vtest_below(
				&f.loop.rand, sizeof(expected));

			memset(buf, 0, len);
			CHECK_EQ(vio_rngdrv_read(&f.drv, buf, len, &got),
				 VIO_OK);
			CHECK_GE(got, 1);
			CHECK_LE(got, len);
			vtest_fill(&model, expected, got);
			CHECK_MEMEQ(buf, expected, got);
		}
		CHECK_EQ(f.dev.bytes, f.source.given);
		if (f.loop.own)
			CHECK_EQ(f.loop.bounce.bytes_out, f.source.given);
		loop_fini(&f.loop);
	}
}

TEST("rng: buffers across regions are filled without a gap",
     "split.device.message-framing.1")
{
	const size_t before = 100;
	unsigned char *buf, expected[300];
	struct vtest_rand model = vtest_rand_init(7);
	struct fixture f;
	uint32_t got;

	setup(&f, 0, false);
	/* The end of a region, as the device sees it, in the middle. */
	buf = f.loop.window.host + f.loop.region[1].size * 2 - before;
	CHECK_EQ(vio_rngdrv_read(&f.drv, buf, sizeof(expected), &got),
		 VIO_OK);
	CHECK_EQ(got, sizeof(expected));
	vtest_fill(&model, expected, got);
	CHECK_MEMEQ(buf, expected, got);
	loop_fini(&f.loop);
}

TEST("rng: many buffers in flight come back each with its own bytes", "")
{
	enum { BUFS = 8, LEN = 64 };
	unsigned char *buf[BUFS], expected[LEN];
	struct vtest_rand model = vtest_rand_init(7);
	struct fixture f;
	unsigned set, i, round;
	uint32_t len;

	for (set = 0; set < LOOP_ALL; set++) {
		setup(&f, set, false);
		model = vtest_rand_init(7);
		for (i = 0; i < BUFS; i++)
			buf[i] = loop_buffer(&f.loop, LEN);
		for (round = 0; round < 100; round++) {
			for (i = 0; i < BUFS; i++) {
				struct vio_seg seg = { buf[i], LEN };

				CHECK_EQ(vio_vq_add(&f.drv.vq, &seg, 0, 1,
						    buf[i]), VIO_OK);
			}
			for (i = 0; i < BUFS; i++) {
				CHECK(vio_drv_wait_used(&f.drv.drv, 0,
							&f.drv.vq, &len) ==
				      buf[i]);
				CHECK_EQ(len, LEN);
				vtest_fill(&model, expected, LEN);
				CHECK_MEMEQ(buf[i], expected, LEN);
			}
		}
		loop_fini(&f.loop);
	}
}

/* Suspend, see that nothing moves, and go on. */
static void sleep_a_while(struct fixture *f)
{
	uint64_t given;

	CHECK_EQ(vio_drv_suspend(&f->drv.drv), VIO_OK);
	given = f->source.given;
	while (loop_step(&f->loop))
		;
	CHECK_EQ(f->source.given, given);
	CHECK_EQ(vio_drv_resume(&f->drv.drv), VIO_OK);
	vio_drv_kick(&f->drv.drv, 0, &f->drv.vq);
}

TEST("rng: suspended and resumed with buffers waiting, nothing is lost",
     "core.device.device-suspend.3 core.device.device-suspend.7 "
     "core.driver.device-suspend.2 core.driver.device-suspend.6")
{
	enum { BUFS = 8, LEN = 64 };
	unsigned char *buf[BUFS], expected[LEN];
	struct vtest_rand model;
	struct fixture f;
	unsigned nr = 0;
	uint32_t len;

	for (unsigned set = 0; set < LOOP_SETS; set++) {
		setup(&f, set, false);
		/* Channel I/O has it in its last revision alone. */
		if (!vio_drv_has(&f.drv.drv, VIRTIO_F_SUSPEND)) {
			loop_fini(&f.loop);
			continue;
		}
		nr++;
		model = vtest_rand_init(7);
		for (unsigned i = 0; i < BUFS; i++)
			buf[i] = loop_buffer(&f.loop, LEN);
		for (unsigned round = 0; round < 50; round++) {
			for (unsigned i = 0; i < BUFS; i++) {
				struct vio_seg seg = { buf[i], LEN };

				CHECK_EQ(vio_vq_add(&f.drv.vq, &seg, 0, 1,
						    buf[i]), VIO_OK);
				if (vtest_below(&f.loop.rand, 2))
					vio_drv_kick(&f.drv.drv, 0,
						     &f.drv.vq);
				if (vtest_below(&f.loop.rand, 4) == 0)
					sleep_a_while(&f);
			}
			for (unsigned i = 0; i < BUFS; i++) {
				CHECK(vio_drv_wait_used(&f.drv.drv, 0,
							&f.drv.vq, &len) ==
				      buf[i]);
				CHECK_EQ(len, LEN);
				vtest_fill(&model, expected, LEN);
				CHECK_MEMEQ(buf[i], expected, LEN);
			}
		}
		loop_fini(&f.loop);
	}
	if (!nr)
		SKIP("needs SUSPEND, which this bus does not have");
}
