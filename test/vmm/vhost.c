/* SPDX-License-Identifier: MIT */
/*
 * A device in another process, in our machine, with no guest: a driver of ours
 * in its place, on the registers that a guest would have. The back end is the
 * real vireo-blk; it is killed, and another one takes its place.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vireo/bus_mmio.h>
#include <vireo/driver_blk.h>

#include "vmm/devices.h"
#include "test/listens.h"
#include "vtest.h"

enum { WINDOW = 1 << 20, AREA = 4 << 20, DATA = WINDOW + AREA / 2 };

static struct machine m;
static struct loop loop;
static struct dev *dev;
static char dir[] = "/tmp/vireo-vmm-XXXXXX", sock[64], disk[64];
static pid_t daemon_pid;
static unsigned patience;

static void need_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		SKIP("needs /dev/kvm");
	close(fd);
}

static void open_machine(void)
{
	const struct machine_conf conf = {
		.mem = 32 << 20, .cpus = 1, .transport = MACHINE_MMIO,
	};

	CHECK_EQ(loop_init(&loop), 0);
	CHECK_EQ(machine_open(&m, &conf, &loop), 0);
}

static void close_machine(void)
{
	machine_close(&m);
	loop_fini(&loop);
}

/* -- the back end --------------------------------------------------------- */

static void start_back_end(void)
{
	char socket_opt[80], blk_opt[80];

	unlink(sock);
	snprintf(socket_opt, sizeof(socket_opt), "--socket-path=%s", sock);
	snprintf(blk_opt, sizeof(blk_opt), "--blk-file=%s", disk);
	daemon_pid = fork();
	CHECK(daemon_pid >= 0);
	if (!daemon_pid) {
		execl(VIREO_BIN "/vireo-blk", "vireo-blk", socket_opt,
		      blk_opt, NULL);
		_exit(127);
	}
}

static void wait_for_socket(void)
{
	for (unsigned i = 0; i < 12000 && !listens(sock); i++)
		usleep(5000);
	CHECK(listens(sock));
}

static void kill_back_end(void)
{
	kill(daemon_pid, SIGKILL);
	CHECK_EQ(waitpid(daemon_pid, NULL, 0), daemon_pid);
}

/* -- the driver, where the guest would be --------------------------------- */

static uint32_t get(void *ctx, uint32_t off, unsigned len)
{
	(void)ctx;
	return (uint32_t)bus_read(&m.mmio, VMM_MMIO_BASE + off, len);
}

static void put(void *ctx, uint32_t off, uint32_t value, unsigned len)
{
	(void)ctx;
	bus_write(&m.mmio, VMM_MMIO_BASE + off, value, len);
}

static int wait_a_bit(void *ctx)
{
	(void)ctx;
	usleep(1000);
	return patience-- ? VIO_OK : VIO_E_IO;
}

static const struct vio_mmio_access access_vmm = { get, put, wait_a_bit };

static void write_and_read(struct vio_blkdrv *blk, unsigned salt)
{
	unsigned char *at = m.ram.host + DATA;
	struct vio_seg seg = { at, 4096 };
	struct vio_blkdrv_req r = { .type = VIRTIO_BLK_T_OUT, .seg = &seg,
				    .nr_seg = 1, .sector = 8 * salt };

	memset(at, (int)(salt + 1), 4096);
	CHECK_EQ(vio_blkdrv_sync(blk, 0, &r), VIO_OK);
	r.type = VIRTIO_BLK_T_IN;
	memset(at, 0, 4096);
	CHECK_EQ(vio_blkdrv_sync(blk, 0, &r), VIO_OK);
	for (unsigned i = 0; i < 4096; i++)
		CHECK_EQ(at[i], (unsigned char)(salt + 1));
}

static void prepare(void)
{
	int fd;

	CHECK(mkdtemp(dir));
	snprintf(sock, sizeof(sock), "%s/sock", dir);
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	fd = open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, 1 << 20), 0);
	close(fd);
}

static void clean_up(void)
{
	unlink(sock);
	unlink(disk);
	rmdir(dir);
}

TEST("a back end in another process may die, and the guest goes on with its successor",
     "")
{
	static unsigned char priv[1 << 20] __attribute__((aligned(64)));
	static struct vio_blkdrv blk;
	const struct vio_vq_limits limits = { 64, 4 };
	struct vio_features f = vio_blkdrv_features();
	struct dev_vhost_conf conf = { .ram = &m.ram, .path = sock };
	struct vio_bus_mmio bus;
	struct vio_drv_mem mem;

	need_kvm();
	prepare();
	start_back_end();
	wait_for_socket();
	open_machine();
	conf.type = dev_vhost_type("blk", 3);
	CHECK_EQ(dev_vhost_open(&dev, &conf), 0);
	CHECK_EQ(machine_add(&m, dev), 0);
	CHECK_EQ(dev_start(dev), 0);
	CHECK_EQ(vio_bus_mmio_probe(&bus, &access_vmm, NULL), VIO_OK);
	mem = (struct vio_drv_mem){
		.window = { m.ram.host + WINDOW, { WINDOW }, AREA },
		.shared = { m.ram.host + WINDOW, AREA / 2 },
		.priv = { priv, sizeof(priv) },
	};
	patience = 20000;
	CHECK_EQ(vio_blkdrv_init(&blk, &vio_bus_mmio_ops, &bus, &f, &limits,
				 1, &mem), VIO_OK);
	CHECK_EQ(blk.capacity_sectors, 2048);
	for (unsigned i = 0; i < 3; i++) {
		write_and_read(&blk, i);
		kill_back_end();
		start_back_end();
	}
	write_and_read(&blk, 3);
	CHECK_EQ(vio_blkdrv_reset(&blk, NULL, NULL), VIO_OK);
	dev_stop(dev);
	close_machine();
	kill_back_end();
	clean_up();
}

static bool gone(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	for (unsigned i = 0; i < 1000 && poll(&p, 1, 0) == 1; i++)
		usleep(1000);
	return poll(&p, 1, 0) == 0;
}

TEST("an event becomes a message in the kernel, while it is bound", "")
{
	struct msi_line line[2] = { { 0 } };
	struct pollfd p = { .events = POLLIN };
	uint64_t one = 1;

	need_kvm();
	open_machine();
	p.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (msi_bind(&m.msi, &line[1], p.fd, 0xfee00000, 0x41) == -ENOTSUP)
		SKIP("KVM has no irqfd here");
	CHECK_EQ(line[1].gsi, VMM_IOAPIC_PINS);
	msi_unbind(&m.msi, &line[1]);
	CHECK_EQ(write(p.fd, &one, 8), 8);
	CHECK_EQ(poll(&p, 1, 20), 1);
	/* What came before is a message as well. */
	CHECK_EQ(msi_bind(&m.msi, &line[0], p.fd, 0xfee00000, 0x42), 0);
	CHECK(line[0].bound);
	CHECK_EQ(line[0].gsi, VMM_IOAPIC_PINS + 1);
	if (!gone(p.fd))
		SKIP("this KVM is emulated, and takes no events");
	CHECK_EQ(write(p.fd, &one, 8), 8);
	CHECK(gone(p.fd));
	/* Another message for the same events. */
	CHECK_EQ(msi_bind(&m.msi, &line[0], p.fd, 0xfee00000, 0x43), 0);
	CHECK_EQ(line[0].gsi, VMM_IOAPIC_PINS + 1);
	CHECK_EQ(write(p.fd, &one, 8), 8);
	CHECK(gone(p.fd));
	msi_unbind(&m.msi, &line[0]);
	CHECK_EQ(write(p.fd, &one, 8), 8);
	CHECK_EQ(poll(&p, 1, 20), 1);
	close_machine();
	close(p.fd);
}
