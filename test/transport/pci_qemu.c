/* SPDX-License-Identifier: MIT */
/*
 * pci_qemu.c - our drivers and our PCI bus against QEMU's own devices, on
 * split and on packed rings, polling, with the interrupt line and with
 * messages. Messages are writes to memory, and here they go to memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vireo/bus_pci.h>
#include <vireo/driver_blk.h>
#include <vireo/driver_console.h>
#include <vireo/driver_rng.h>

#include "test/transport/qemu_net.h"
#include "test/transport/qtest.h"
#include "vtest.h"

#define RAM	(64u << 20)
#define MESSAGES 0x80000u	/* guest address of messages that came */
#define RINGS	(1u << 20)	/* of what the driver uses */
#define AREA	(4u << 20)
#define DATA	(RINGS + AREA / 2)

enum mode { POLL, LINE, MESSAGE };

static struct qtest q;
static bool legacy;		/* that interface: sizes are QEMU's */
static struct vio_bus_pci bus;
static enum mode mode;
static unsigned patience, interrupts;
static unsigned char priv[1 << 20] __attribute__((aligned(64)));

static uint32_t machine_read(void *ctx, enum vio_pci_space space,
			     uint64_t addr, unsigned len)
{
	uint32_t v = 0;

	(void)ctx;
	CHECK(space == VIO_PCI_IO ? qtest_in(&q, addr, len, &v) :
				    qtest_read(&q, addr, len, &v));
	return v;
}

static void machine_write(void *ctx, enum vio_pci_space space, uint64_t addr,
			  uint32_t v, unsigned len)
{
	(void)ctx;
	CHECK(space == VIO_PCI_IO ? qtest_out(&q, addr, len, v) :
				    qtest_write(&q, addr, len, v));
}

static bool message_came(void)
{
	uint32_t *word = (uint32_t *)(void *)(q.ram + MESSAGES);

	for (unsigned i = 0; i < 4; i++)
		if (__atomic_exchange_n(&word[i], 0, __ATOMIC_ACQUIRE)) {
			interrupts++;
			return true;
		}
	return false;
}

static bool line_is_up(const struct vio_pci_machine *m)
{
	bool up = vio_pci_get(m, NULL, bus.function, VIO_PCI_STATUS, 2) &
		  VIO_PCI_STATUS_INTX;

	interrupts += up;
	return up;
}

static int machine_wait(void *ctx);

static const struct vio_pci_machine machine = {
	.read = machine_read, .write = machine_write, .wait = machine_wait,
	.mechanism = VIO_PCI_BY_PORTS,
};

/* QEMU works in its own time; a device that never interrupts is at fault. */
static int machine_wait(void *ctx)
{
	(void)ctx;
	while (patience--) {
		if (mode == POLL || !bus.vectors) {
			usleep(1000);
			if (mode != LINE || line_is_up(&machine))
				return VIO_OK;
		} else if (message_came()) {
			return VIO_OK;
		}
		usleep(100);
	}
	return VIO_E_IO;
}

/* Also what a case left behind that failed. */
static void stop(void)
{
	qtest_stop(&q);
	q = (struct qtest){ .fd = -1 };
}

static void start(const char *const *args)
{
	static bool registered;
	int rc;

	if (!registered)
		registered = atexit(stop) == 0;
	else
		stop();
	rc = qtest_start_on(&q, "q35", RAM, args);
	if (rc == 77)
		SKIP("qemu-system-x86_64 is not installed");
	CHECK_EQ(rc, 0);
	patience = 20000;
	interrupts = 0;
}

static void find(uint32_t device_id)
{
	const struct vio_pci_message msg[3] = {
		{ MESSAGES, 0x100 }, { MESSAGES + 4, 0x101 },
		{ MESSAGES + 8, 0x102 } };
	struct vio_pci_windows w = { 0xe0000000, 0xf0000000, 0xc000, 0xd000 };
	uint32_t f = 0;

	CHECK_EQ(vio_pci_next(&machine, NULL, &f), VIO_OK);
	CHECK_EQ(vio_pci_assign(&machine, NULL, f, &w), VIO_OK);
	CHECK_EQ(legacy ? vio_bus_pci_probe_legacy(&bus, &machine, NULL, f) :
			  vio_bus_pci_probe(&bus, &machine, NULL, f), VIO_OK);
	CHECK_EQ(bus.device_id, device_id);
	if (mode == LINE)
		vio_bus_pci_intx(&bus);
	if (mode == MESSAGE)
		CHECK_EQ(vio_bus_pci_msix(&bus, msg, bus.vectors_max < 3 ?
					  bus.vectors_max : 3), VIO_OK);
}

static struct vio_drv_mem memory(void)
{
	memset(priv, 0, sizeof(priv));
	return (struct vio_drv_mem){
		.window = { q.ram + RINGS, { RINGS }, AREA },
		.shared = { q.ram + RINGS, AREA / 2 },
		.priv = { priv, sizeof(priv) },
	};
}

static void check_interrupts(void)
{
	if (mode != POLL)
		CHECK_GT(interrupts, 0);
}

/* QEMU may be done with each buffer before the driver would wait for it; with
 * this one it is told to interrupt, and waited for. */
static void read_by_interrupt(struct vio_rngdrv *drv)
{
	struct vio_seg seg = { q.ram + DATA, 64 };
	uint32_t got;

	CHECK_EQ(vio_vq_add(&drv->vq, &seg, 0, 1, drv), VIO_OK);
	CHECK(!vio_vq_listen(&drv->vq));
	vio_drv_kick(&drv->drv, 0, &drv->vq);
	CHECK_EQ(bus.ops->wait(&bus, 0), VIO_OK);
	CHECK_EQ(vio_drv_wait_used(&drv->drv, 0, &drv->vq,
				   &got) == drv, true);
	CHECK_GT(got, 0);
}

static void use_rng(const char *device, enum mode how, bool packed)
{
	const char *const args[] = { "-device", device, NULL };
	const struct vio_vq_limits limits = { legacy ? 256 : 64, 0 };
	struct vio_features f = { { 1ull << VIRTIO_F_RING_PACKED |
				    1ull << VIRTIO_F_EVENT_IDX, 0 } };
	static unsigned seen[256];
	unsigned kinds = 0;
	struct vio_drv_mem mem;
	struct vio_rngdrv drv;
	uint32_t got;

	mode = how;
	start(args);
	find(VIRTIO_ID_ENTROPY);
	mem = memory();
	CHECK_EQ(vio_rngdrv_init(&drv, bus.ops, &bus, &f, &limits, &mem),
		 VIO_OK);
	CHECK_EQ(vio_drv_has(&drv.drv, VIRTIO_F_RING_PACKED), packed);
	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < 100; i++) {
		unsigned char *buf = q.ram + DATA;

		CHECK_EQ(vio_rngdrv_read(&drv, buf, 64, &got), VIO_OK);
		CHECK_GT(got, 0);
		for (unsigned k = 0; k < got; k++)
			kinds += !seen[buf[k]]++;
	}
	CHECK_GT(kinds, 200);
	if (mode != POLL)
		read_by_interrupt(&drv);
	check_interrupts();
	CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
	stop();
}

/* One request that writes and one that reads, anywhere. */
static void disk_round(struct vio_blkdrv *drv, struct vtest_rand *rnd,
		       unsigned char *model, unsigned queue)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned n = 1 + vtest_below(rnd, 8);
		uint64_t sector = vtest_below(rnd, 256 - n);
		unsigned char *buf = q.ram + DATA;
		struct vio_seg seg[2] = { { buf, 512 * n - 100 },
					  { buf + 8192, 100 } };
		struct vio_blkdrv_req r = { .type = i ?
			VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
			.sector = sector, .seg = seg, .nr_seg = 2 };

		if (!i) {
			vtest_fill(rnd, model + sector * 512, n * 512);
			memcpy(buf, model + sector * 512, n * 512 - 100);
			memcpy(buf + 8192, model + (sector + n) * 512 - 100,
			       100);
		}
		CHECK_EQ(vio_blkdrv_sync(drv, queue, &r), VIO_OK);
		CHECK_MEMEQ(buf, model + sector * 512, n * 512 - 100);
		CHECK_MEMEQ(buf + 8192, model + (sector + n) * 512 - 100, 100);
	}
}

static void ask(struct vio_blkdrv *drv, uint32_t type, uint64_t sector,
		uint32_t len, bool unmap)
{
	struct vio_seg seg = { q.ram + DATA, len };
	bool has_data = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_OUT ||
			type == VIRTIO_BLK_T_GET_ID;
	struct vio_blkdrv_req r = {
		.type = type, .sector = sector, .unmap = unmap, .seg = &seg,
		.nr_seg = has_data, .num_sectors = has_data ? 0 : len / 512,
	};

	CHECK_EQ(vio_blkdrv_sync(drv, 0, &r), VIO_OK);
}

/* All that QEMU's disk does beside reading and writing. */
static void disk_more(struct vio_blkdrv *drv)
{
	unsigned char *buf = q.ram + DATA;

	ask(drv, VIRTIO_BLK_T_GET_ID, 0, 20, false);
	CHECK_STREQ((char *)buf, "vireo-was-here");
	memset(buf, 0x5a, 64 * 512);
	ask(drv, VIRTIO_BLK_T_OUT, 0, 64 * 512, false);
	ask(drv, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	ask(drv, VIRTIO_BLK_T_WRITE_ZEROES, 8, 8 * 512, false);
	ask(drv, VIRTIO_BLK_T_WRITE_ZEROES, 24, 8 * 512, true);
	ask(drv, VIRTIO_BLK_T_DISCARD, 40, 8 * 512, false);
	ask(drv, VIRTIO_BLK_T_IN, 0, 64 * 512, false);
	for (unsigned s = 0; s < 64; s++) {
		bool zeroed = s / 8 == 1 || s / 8 == 3;

		/* What was discarded may be anything. */
		if (s / 8 != 5)
			CHECK_EQ(buf[s * 512 + 100], zeroed ? 0 : 0x5a);
	}
	/* Write-through, and back. */
	CHECK(drv->writeback);
	CHECK_EQ(vio_blkdrv_set_writeback(drv, false), VIO_OK);
	ask(drv, VIRTIO_BLK_T_OUT, 0, 512, false);
	CHECK_EQ(vio_blkdrv_set_writeback(drv, true), VIO_OK);
}

static void use_blk(const char *device, enum mode how, uint64_t ring_features,
		    unsigned nr_queues)
{
	char drive[128], path[] = "/tmp/vireo-disk-XXXXXX";
	const char *const args[] = { "-blockdev", drive, "-device", device,
				     NULL };
	const struct vio_vq_limits limits = { legacy ? 256 : 64, 8 };
	struct vio_features f = vio_blkdrv_features();
	struct vtest_rand rnd = vtest_rand_init(vtest_seed());
	static unsigned char model[256 * 512];
	static struct vio_blkdrv drv;
	struct vio_drv_mem mem;
	int fd = mkstemp(path);

	CHECK_GE(fd, 0);
	CHECK_EQ(ftruncate(fd, sizeof(model)), 0);
	close(fd);
	snprintf(drive, sizeof(drive), "driver=raw,node-name=d,"
		 "file.driver=file,file.filename=%s", path);
	mode = how;
	start(args);
	/* The block features that it knows, and these ring features. */
	f.w[0] &= (1ull << VIRTIO_F_NOTIFY_ON_EMPTY) - 1;
	f.w[0] |= ring_features;
	find(VIRTIO_ID_BLOCK);
	mem = memory();
	CHECK_EQ(vio_blkdrv_init(&drv, bus.ops, &bus, &f, &limits,
				 (uint16_t)nr_queues, &mem), VIO_OK);
	CHECK_EQ(vio_drv_has(&drv.drv, VIRTIO_F_RING_PACKED),
		 ring_features >> VIRTIO_F_RING_PACKED & 1);
	CHECK_EQ(drv.nr_queues, nr_queues);
	CHECK_EQ(drv.capacity_sectors, 256);
	memset(model, 0, sizeof(model));
	/* Until the driver had to wait for one of them, too. */
	for (unsigned i = 0; i < 60 || (mode != POLL && !interrupts &&
					i < 6000); i++)
		disk_round(&drv, &rnd, model, i % nr_queues);
	if (strstr(device, "serial="))
		disk_more(&drv);
	check_interrupts();
	CHECK_EQ(vio_blkdrv_reset(&drv, NULL, NULL), VIO_OK);
	stop();
	unlink(path);
}

static int terminal(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	CHECK_EQ(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void use_console(const char *serial, enum mode how)
{
	char chardev[128], path[] = "/tmp/vireo-tty-XXXXXX";
	const char *const args[] = { "-chardev", chardev, "-device", serial,
				     "-device", "virtconsole,chardev=c",
				     NULL };
	const struct vio_vq_limits limits = { legacy ? 256 : 16, 0 };
	struct vio_features f = { { 1ull << VIRTIO_F_RING_PACKED |
				    1ull << VIRTIO_F_EVENT_IDX, 0 } };
	static struct vio_condrv con;
	unsigned char got[16];
	struct vio_drv_mem mem;
	size_t n = 0;
	int fd = mkstemp(path);

	close(fd);
	unlink(path);
	snprintf(chardev, sizeof(chardev), "socket,id=c,path=%s,server=on,"
		 "wait=off", path);
	mode = how;
	start(args);
	find(VIRTIO_ID_CONSOLE);
	mem = memory();
	CHECK_EQ(vio_condrv_init(&con, bus.ops, &bus, &f, &limits, &mem),
		 VIO_OK);
	fd = terminal(path);
	unlink(path);
	memcpy(q.ram + DATA, "hello", 5);
	CHECK_EQ(vio_condrv_print(&con, q.ram + DATA, 5), VIO_OK);
	CHECK_EQ(recv(fd, got, 5, MSG_WAITALL), 5);
	CHECK_MEMEQ(got, "hello", 5);
	CHECK_EQ(send(fd, "world", 5, MSG_NOSIGNAL), 5);
	while (n < 5 && machine_wait(NULL) == VIO_OK) {
		if (bus.line)
			vio_bus_pci_interrupt(&bus);
		n += vio_condrv_read(&con, got + n, sizeof(got) - n);
	}
	CHECK_EQ(n, 5);
	CHECK_MEMEQ(got, "world", 5);
	check_interrupts();
	CHECK_EQ(vio_drv_reset(&con.drv), VIO_OK);
	close(fd);
	stop();
}

/* The line is taken down by him who looks what it was. */
static int net_wait(void *ctx)
{
	int err = machine_wait(ctx);

	if (bus.line)
		vio_bus_pci_interrupt(&bus);
	return err;
}

static void use_net(const char *device, enum mode how, struct qemu_net n)
{
	struct qemu_wire wire;
	const char *const args[] = { "-netdev", wire.netdev, "-device",
				     device, NULL };
	struct vio_drv_mem mem;

	qemu_wire_open(&wire);
	mode = how;
	start(args);
	find(VIRTIO_ID_NET);
	mem = memory();
	n.ops = bus.ops;
	n.bus = &bus;
	n.mem = &mem;
	n.data = q.ram + DATA;
	n.size = legacy ? 256 : 64;
	n.wait = net_wait;
	qemu_net_use(&n, &wire);
	check_interrupts();
	stop();
	qemu_wire_close(&wire);
}

#define MODERN	",disable-legacy=on"
#define PACKED	(1ull << VIRTIO_F_RING_PACKED)
#define MORE	(1ull << VIRTIO_F_EVENT_IDX | 1ull << VIRTIO_F_INDIRECT_DESC)

TEST("QEMU's entropy device, split: polling, line, messages", "")
{
	for (unsigned how = POLL; how <= MESSAGE; how++)
		use_rng("virtio-rng-pci" MODERN, (enum mode)how, false);
}

TEST("QEMU's entropy device, packed: polling, line, messages", "")
{
	for (unsigned how = POLL; how <= MESSAGE; how++)
		use_rng("virtio-rng-pci,packed=on" MODERN, (enum mode)how,
			true);
}

TEST("QEMU's disk, split", "")
{
	use_blk("virtio-blk-pci,drive=d" MODERN, POLL, 0, 1);
	use_blk("virtio-blk-pci,drive=d" MODERN, LINE, MORE, 1);
	use_blk("virtio-blk-pci,drive=d" MODERN, MESSAGE, MORE, 1);
}

TEST("QEMU's disk, packed", "")
{
	use_blk("virtio-blk-pci,drive=d,packed=on" MODERN, LINE, PACKED, 1);
	use_blk("virtio-blk-pci,drive=d,packed=on" MODERN, MESSAGE,
		PACKED | MORE, 1);
}

TEST("QEMU's disk with four queues", "")
{
	use_blk("virtio-blk-pci,drive=d,num-queues=4" MODERN, MESSAGE, MORE,
		4);
}

TEST("QEMU's disk: its name, zeroes, discard, flush, cache", "")
{
	use_blk("virtio-blk-pci,drive=d,serial=vireo-was-here" MODERN, MESSAGE,
		MORE, 1);
	use_blk("virtio-blk-pci,drive=d,packed=on,serial=vireo-was-here" MODERN,
		POLL, PACKED, 1);
}

TEST("QEMU's console: line, messages", "")
{
	use_console("virtio-serial-pci" MODERN, LINE);
	use_console("virtio-serial-pci,packed=on" MODERN, MESSAGE);
}

TEST("QEMU's network card: polling, line, messages", "")
{
	use_net("virtio-net-pci,netdev=n" MODERN, POLL,
		(struct qemu_net){ .merge = true });
	use_net("virtio-net-pci,netdev=n,packed=on" MODERN, LINE,
		(struct qemu_net){ .packed = true });
	use_net("virtio-net-pci,netdev=n,packed=on" MODERN, MESSAGE,
		(struct qemu_net){ .packed = true, .merge = true });
}

/* Transitional (both parts are there) and legacy alone. */
#define BOTH	",disable-legacy=off,disable-modern=off"
#define OLD	",disable-legacy=off,disable-modern=on"

TEST("QEMU's transitional devices, by their modern part", "")
{
	use_rng("virtio-rng-pci" BOTH, MESSAGE, false);
	use_blk("virtio-blk-pci,drive=d" BOTH, MESSAGE, MORE, 1);
	use_console("virtio-serial-pci" BOTH, LINE);
}

static void use_legacy(const char *kind)
{
	char device[80];

	legacy = true;
	snprintf(device, sizeof(device), "virtio-rng-pci%s", kind);
	for (unsigned how = POLL; how <= MESSAGE; how++)
		use_rng(device, (enum mode)how, false);
	snprintf(device, sizeof(device), "virtio-blk-pci,drive=d%s", kind);
	use_blk(device, LINE, 0, 1);
	use_blk(device, MESSAGE, MORE, 1);
	snprintf(device, sizeof(device), "virtio-serial-pci%s", kind);
	use_console(device, LINE);
	use_console(device, MESSAGE);
	snprintf(device, sizeof(device), "virtio-net-pci,netdev=n%s", kind);
	use_net(device, MESSAGE, (struct qemu_net){ .merge = true });
	use_net(device, LINE, (struct qemu_net){ .merge = false });
	snprintf(device, sizeof(device),
		 "virtio-net-pci,netdev=n,any_layout=off%s", kind);
	use_net(device, POLL, (struct qemu_net){ .framed = true });
	legacy = false;
}

TEST("QEMU's transitional devices, by their ports", "")
{
	use_legacy(BOTH);
}

TEST("QEMU's legacy devices", "")
{
	use_legacy(OLD);
}

/* -- power ---------------------------------------------------------------- */

/* Functions with states of power are behind a port, which is set up first. */
static void open_port(void)
{
	const uint32_t port = VIO_PCI_FUNCTION(0, 4, 0);

	vio_pci_put(&machine, NULL, port, 0x18, 0x010100, 4);	/* buses */
	vio_pci_put(&machine, NULL, port, 0x20, 0xeff0e000, 4);	/* memory */
	vio_pci_put(&machine, NULL, port, VIO_PCI_COMMAND,
		    VIO_PCI_COMMAND_MEM | VIO_PCI_COMMAND_MASTER, 2);
}

static uint32_t power_state(void)
{
	CHECK_NE(bus.cap_pm, 0);
	return vio_pci_get(&machine, NULL, bus.function,
			   bus.cap_pm + VIO_PCI_PM_CSR, 2) & VIO_PCI_PM_STATE;
}

static void read_random(struct vio_rngdrv *drv)
{
	unsigned char *buf = q.ram + DATA, sum = 0;
	uint32_t got;

	for (unsigned i = 0; i < 20; i++) {
		memset(buf, 0, 64);
		CHECK_EQ(vio_rngdrv_read(drv, buf, 64, &got), VIO_OK);
		for (unsigned k = 0; k < got; k++)
			sum |= buf[k];
	}
	CHECK_NE(sum, 0);
}

/* QEMU's device has no SUSPEND: it is reset before, and started after. */
TEST("QEMU's entropy device sleeps and wakes: polling, messages", "")
{
	static const char *const args[] = {
		"-device", "pcie-root-port,id=rp,chassis=1,addr=4",
		"-device", "virtio-rng-pci,bus=rp", NULL,
	};
	const struct vio_vq_limits limits = { 64, 0 };
	const struct vio_pci_message msg[2] = { { MESSAGES, 0x100 },
						{ MESSAGES + 4, 0x101 } };
	struct vio_pci_windows w = { 0xe0000000, 0xf0000000, 0xc000, 0xd000 };
	uint32_t f = VIO_PCI_FUNCTION(1, 0, 0);
	struct vio_features wanted = { { 0, 0 } };
	bool kept;

	start(args);
	open_port();
	CHECK_EQ(vio_pci_assign(&machine, NULL, f, &w), VIO_OK);
	CHECK_EQ(vio_bus_pci_probe(&bus, &machine, NULL, f), VIO_OK);
	for (unsigned i = 0; i < 6; i++) {
		struct vio_drv_mem mem = memory();
		struct vio_rngdrv drv;

		mode = i % 2 ? MESSAGE : POLL;
		if (mode == MESSAGE)
			CHECK_EQ(vio_bus_pci_msix(&bus, msg, 2), VIO_OK);
		CHECK_EQ(vio_rngdrv_init(&drv, bus.ops, &bus, &wanted,
					 &limits, &mem), VIO_OK);
		read_random(&drv);
		if (mode == MESSAGE)
			read_by_interrupt(&drv);
		CHECK_EQ(vio_drv_reset(&drv.drv), VIO_OK);
		CHECK_EQ(vio_bus_pci_sleep(&bus), VIO_OK);
		CHECK_EQ(power_state(), VIO_PCI_PM_D3HOT);
		CHECK_EQ(vio_bus_pci_wake(&bus, &kept), VIO_OK);
		CHECK_EQ(power_state(), 0);
		/* By what it says it may be reset on its way. */
		CHECK(!kept);
		CHECK_EQ(bus.vectors, 0);
	}
	CHECK_GT(interrupts, 0);
	stop();
}
