/* SPDX-License-Identifier: MIT */
/*
 * mmio.c - devices behind MMIO registers, found by their magic number, of the
 * standard's version or of the one before it.
 */
#include "bare.h"
#include <vireo/bus_mmio.h>

static uint32_t reg_read(void *ctx, uint32_t off, unsigned len)
{
	uintptr_t at = (uintptr_t)ctx + off;

	if (len == 1)
		return *(volatile uint8_t *)at;
	if (len == 2)
		return *(volatile uint16_t *)at;
	return *(volatile uint32_t *)at;
}

static void reg_write(void *ctx, uint32_t off, uint32_t value, unsigned len)
{
	uintptr_t at = (uintptr_t)ctx + off;

	/* What was written to memory comes before. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (len == 1)
		*(volatile uint8_t *)at = (uint8_t)value;
	else if (len == 2)
		*(volatile uint16_t *)at = (uint16_t)value;
	else
		*(volatile uint32_t *)at = value;
}

/* No interrupts here: look again. */
static int poll(void *ctx)
{
	(void)ctx;
	return VIO_OK;
}

static const struct vio_mmio_access access = {
	.read = reg_read, .write = reg_write, .wait = poll };

unsigned bare_mmio(uintptr_t base, uintptr_t step, unsigned nr)
{
	unsigned found = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct vio_bus_mmio bus;
		void *regs = (void *)(base + i * step);

		if (vio_bus_mmio_probe(&bus, &access, regs) == VIO_OK) {
			exercise(bus.device_id, &vio_bus_mmio_ops, &bus);
		} else if (vio_bus_mmio_legacy_probe(&bus, &access, regs) ==
			   VIO_OK) {
			say("legacy ");
			exercise(bus.device_id, &vio_bus_mmio_legacy_ops,
				 &bus);
		} else {
			continue;
		}
		found++;
	}
	return found;
}
