/* SPDX-License-Identifier: MIT */
/*
 * embed.c - both sides of Vireo in one program: an entropy device behind MMIO
 * registers, and the driver that reads from it. The smallest thing that runs;
 * a hypervisor keeps the upper half, a guest or an RTOS the lower one.
 *
 *	scripts/amalgamate build
 *	cc -std=c11 -Ibuild examples/embed.c build/vireo.c -o embed && ./embed
 */
#include <stdio.h>
#include <string.h>
#include <vireo.h>

#define GUEST	0x80000000u	/* where the guest sees its memory */
#define SIZE	8		/* entries of the queue */

/* Memory that both sides see: rings and buffers. */
static _Alignas(4096) unsigned char ram[16384];

/* -- the device's side: what a hypervisor has ------------------------------ */

static struct vio_rng rng;
static struct vio_queue queue;
static _Alignas(64) unsigned char storage[16384];
static struct vio_region region = {
	.addr = { GUEST }, .size = sizeof(ram), .host = ram,
	.perm = VIO_PERM_RW };
static struct vio_mem mem;
static struct vio_mmio mmio;
static struct vio_mmio_queue registers[1];

/* A source of "randomness" that shows in the output; take a real one. */
static size_t fill(void *source, void *dst, size_t len)
{
	unsigned *next = source;

	for (size_t i = 0; i < len; i++)
		((unsigned char *)dst)[i] = (unsigned char)(*next)++;
	return len;
}

static const struct vio_rng_source_ops source = { .fill = fill };

/* The device's interrupt line: here nobody needs to be woken. */
static void interrupt(void *ctx, bool level)
{
	(void)ctx;
	(void)level;
}

/* The driver notified; a hypervisor may hand this to another thread. */
static void serve(void *ctx, struct vio_queue *q)
{
	(void)ctx;
	vio_queue_service(q, SIZE);
}

static const struct vio_mmio_ops machine = {
	.interrupt = interrupt, .serve = serve };

static int make_device(void)
{
	static unsigned next = 0xa0;
	const struct vio_queue_limits limits = {
		.size_max = SIZE, .seg_max = 8,
		.ctx_size = vio_rng_ctx_size };

	if (vio_queue_storage_size(&limits) > sizeof(storage) ||
	    vio_queue_init(&queue, &rng.dev, 0, &limits, storage,
			   sizeof(storage)) ||
	    vio_rng_init(&rng, &queue, &source, &next) ||
	    vio_mem_init(&mem, &region, 1))
		return -1;
	vio_mmio_init(&mmio, &rng.dev, &mem, registers, &machine, NULL, NULL);
	return 0;
}

/* -- the driver's side: what a guest has ----------------------------------- */

/* On a machine of your own: volatile accesses to the registers. */
static uint32_t reg_read(void *ctx, uint32_t off, unsigned len)
{
	(void)ctx;
	return (uint32_t)vio_mmio_read(&mmio, off, len);
}

static void reg_write(void *ctx, uint32_t off, uint32_t value, unsigned len)
{
	(void)ctx;
	vio_mmio_write(&mmio, off, value, len);
}

/* Where there are interrupts: sleep until one came. */
static int wait_irq(void *ctx)
{
	(void)ctx;
	return VIO_OK;
}

static const struct vio_mmio_access regs = {
	.read = reg_read, .write = reg_write, .wait = wait_irq };

int main(void)
{
	static _Alignas(16) unsigned char private[1024];
	static struct vio_rngdrv drv;
	const struct vio_features all = { { ~0ull, ~0ull } };
	const struct vio_vq_limits limits = { .size = SIZE };
	struct vio_drv_mem where = {
		.window = { ram, { GUEST }, sizeof(ram) },
		.shared = { ram, 8192 },
		.priv = { private, sizeof(private) } };
	unsigned char *buf = ram + 8192;
	struct vio_bus_mmio bus;
	uint32_t got = 0;
	int err;

	if (make_device()) {
		fprintf(stderr, "the device cannot be made\n");
		return 1;
	}
	err = vio_bus_mmio_probe(&bus, &regs, NULL);
	if (!err)
		err = vio_rngdrv_init(&drv, &vio_bus_mmio_ops, &bus, &all,
				      &limits, &where);
	if (!err)
		err = vio_rngdrv_read(&drv, buf, 8, &got);
	if (err) {
		fprintf(stderr, "error %d\n", err);
		return 1;
	}
	printf("device %u gave %u bytes:", (unsigned)bus.device_id,
	       (unsigned)got);
	for (uint32_t i = 0; i < got; i++)
		printf(" %02x", buf[i]);
	printf("\n");
	return 0;
}
