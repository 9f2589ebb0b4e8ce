/* SPDX-License-Identifier: MIT */
/*
 * common_line.h - bring an interrupt line to where it should be, from any
 * thread. It knows not why it should be there.
 *
 * Two threads that each say what they saw may say it in the wrong order, and
 * leave a line up that nothing holds: no guest acknowledges that. So whoever
 * finds nobody at it works until no one asks any more: calls never overlap,
 * and the last one is right. Bounded by the events that come meanwhile.
 */
#ifndef CORE_TRANSPORT_COMMON_LINE_H
#define CORE_TRANSPORT_COMMON_LINE_H

#include <vireo/line.h>

/* @want(@transport): should it be up, as things are now? */
static inline void vio_line_update(struct vio_line *l,
				   bool (*want)(const void *transport),
				   const void *transport,
				   void (*set)(void *ctx, bool up), void *ctx)
{
	uint32_t asked;

	if (__atomic_fetch_add(&l->work, 1, __ATOMIC_SEQ_CST))
		return;
	do {
		bool up;

		asked = __atomic_load_n(&l->work, __ATOMIC_SEQ_CST);
		up = want(transport);
		if (up == l->up)
			continue;
		l->up = up;
		set(ctx, up);
	} while (!__atomic_compare_exchange_n(&l->work, &asked, 0, false,
					      __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
}

#endif
