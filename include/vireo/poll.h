/* SPDX-License-Identifier: MIT */
/*
 * vireo/poll.h - adaptive polling, for either half of a queue: look for work
 * busily for a bounded time, then ask to be notified, look once more, and
 * sleep. How long to look adapts: a wake-up that came soon after going to
 * sleep would have been found by looking longer; one that came late was not
 * worth it, so that idleness costs nothing in the end.
 *
 * Time is the caller's: of any clock, in any unit, or a count of rounds.
 * Thread: a struct vio_poll belongs to one thread.
 */
#ifndef VIREO_POLL_H
#define VIREO_POLL_H

#include <vireo/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vio_poll {
	uint64_t limit;		/* the longest window; 0: never poll */
	uint64_t base;		/* the first window after idleness */
	uint64_t window;	/* how long to look now */
};

static inline void vio_poll_limit(struct vio_poll *p, uint64_t limit)
{
	p->limit = limit;
	if (p->window > limit)
		p->window = limit;
}

/* Nothing was found for @idle: go on looking? */
static inline bool vio_poll_more(const struct vio_poll *p, uint64_t idle)
{
	return idle < p->window;
}

/* Work came after all, after @idle without any, asleep at the end of it. */
static inline void vio_poll_woken(struct vio_poll *p, uint64_t idle)
{
	if (idle > p->limit) {
		p->window /= 2;
		if (p->window < p->base)
			p->window = 0;
		return;
	}
	p->window = p->window ? p->window * 2 : p->base;
	if (p->window > p->limit)
		p->window = p->limit;
}

/* What a waiting thread can do. */
struct vio_poll_ops {
	/* Is there work? Looks, and does not sleep. */
	bool (*look)(void *ctx);
	/*
	 * Ask to be notified, then look again: true if there is work after
	 * all (vio_vq_listen(), or vio_queue_service() until it is idle).
	 */
	bool (*arm)(void *ctx);
	/* No notifications, please: we look anyway. NULL: no matter. */
	void (*disarm)(void *ctx);
	/* Until notified. VIO_OK, or an error, which ends the wait. */
	int (*sleep)(void *ctx);
	uint64_t (*now)(void *ctx);
};

/*
 * vio_poll_wait() - come back when there is work. No wake-up is lost: sleep
 * comes only after arm() looked and found nothing, and a notification asked
 * for by then stays pending until sleep() takes it. VIO_OK or what sleep()
 * said.
 */
static inline int vio_poll_wait(struct vio_poll *p,
				const struct vio_poll_ops *ops, void *ctx)
{
	uint64_t from = ops->now(ctx);
	int err = VIO_OK;

	do {
		if (ops->look(ctx))
			return VIO_OK;
	} while (vio_poll_more(p, ops->now(ctx) - from));
	while (!err && !ops->arm(ctx))
		err = ops->sleep(ctx);
	if (ops->disarm)
		ops->disarm(ctx);
	if (!err)
		vio_poll_woken(p, ops->now(ctx) - from);
	return err;
}

#ifdef __cplusplus
}
#endif
#endif
