/* SPDX-License-Identifier: MIT */
/*
 * event.c - the event-index rule against its definition: a notification is
 * due when the index steps over the event (2.7.10). The rule depends on
 * differences alone, which the second case shows for all indices; so the
 * first, with the old index at 0, stands for every old index.
 */
#include <vireo/spec/split.h>
#include "vtest.h"

TEST("all events, all new indices: due if the event is among those passed",
     "split.device.used-buffer-notification-suppression.5 "
     "split.driver.available-buffer-notification-suppression.6")
{
	for (uint32_t now = 0; now < 0x10000; now++) {
		uint32_t wrong = 0;

		/* The entries passed are 0 to now - 1. */
		for (uint32_t event = 0; event < 0x10000; event++)
			wrong += virtq_need_event((uint16_t)event,
						  (uint16_t)now, 0) !=
				 (event < now);
		CHECK_EQ(wrong, 0);
	}
}

TEST("moving all three indices alike changes nothing", "")
{
	static const uint16_t some[] = { 0, 1, 2, 255, 256, 0x7fff, 0x8000,
					 0x8001, 0xfffe, 0xffff };
	const unsigned n = sizeof(some) / sizeof(some[0]);

	for (uint32_t old = 0; old < 0x10000; old++) {
		for (unsigned i = 0; i < n * n; i++) {
			uint16_t event = some[i / n], now = some[i % n];

			CHECK_EQ(virtq_need_event((uint16_t)(event + old),
						  (uint16_t)(now + old),
						  (uint16_t)old),
				 virtq_need_event(event, now, 0));
		}
	}
}
