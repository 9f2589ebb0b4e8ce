/* SPDX-License-Identifier: MIT */
/* The machine's descriptors, and what KVM is asked through them: see vm.h. */
#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/log.h"
#include "vmm/layout.h"

/* What this machine is built on; all there since Linux 4.7 at least. */
static const struct {
	int cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_IRQCHIP, "interrupt controllers in the kernel" },
	{ KVM_CAP_PIT2, "a timer in the kernel" },
	{ KVM_CAP_USER_MEMORY, "memory of the user's" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd for stores of any width" },
	{ KVM_CAP_SIGNAL_MSI, "message signalled interrupts" },
	{ KVM_CAP_IMMEDIATE_EXIT, "an immediate exit" },
	{ KVM_CAP_EXT_CPUID, "CPUID" },
};

static int check_caps(const struct vm *vm)
{
	int version = ioctl(vm->kvm, KVM_GET_API_VERSION, 0);

	if (version < 0) {
		log_err("/dev/kvm is no KVM: %s", strerror(errno));
		return -ENOTTY;
	}
	if (version != KVM_API_VERSION) {
		log_err("/dev/kvm speaks version %d of its API, this program %d: another kernel is needed",
			version, KVM_API_VERSION);
		return -ENOTSUP;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(vm->kvm, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		log_err("KVM lacks %s: the host's kernel is too old, or KVM is emulated incompletely",
			needed[i].name);
		return -ENOTSUP;
	}
	return 0;
}

static int open_kvm(struct vm *vm)
{
	int err;

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm >= 0)
		return 0;
	err = -errno;
	if (err == -ENOENT || err == -ENXIO || err == -ENODEV)
		log_err("no /dev/kvm: this machine has no hardware virtualization, it is off in the firmware, or the module is missing: modprobe kvm_intel or kvm_amd");
	else if (err == -EACCES || err == -EPERM)
		log_err("/dev/kvm is closed to this user: adduser $USER kvm, then log in again");
	else
		log_err("cannot open /dev/kvm: %s", strerror(-err));
	return err;
}

static int make(struct vm *vm)
{
	struct kvm_pit_config pit = { 0 };
	uint64_t identity = VMM_IDENTITY_MAP;
	const char *what = "a machine";
	int err;

	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		goto failed;
	/* Where an Intel processor keeps what real mode needs. */
	what = "room for real mode";
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, VMM_TSS) < 0)
		goto failed;
	what = "interrupt controllers";
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		goto failed;
	what = "a timer";
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		goto failed;
	return 0;
failed:
	err = -errno;
	log_err("KVM does not make %s: %s", what, strerror(-err));
	return err;
}

int vm_open(struct vm *vm)
{
	int size, err;

	vm->fd = -1;
	err = open_kvm(vm);
	if (!err)
		err = check_caps(vm);
	if (!err)
		err = make(vm);
	size = err ? 0 : ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (!err && size < (int)sizeof(struct kvm_run)) {
		log_err("KVM's page for a processor has %d bytes, too few",
			size);
		err = -ENOTSUP;
	}
	vm->run_size = (size_t)size;
	if (err)
		vm_close(vm);
	return err;
}

void vm_close(struct vm *vm)
{
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm >= 0)
		close(vm->kvm);
	vm->fd = vm->kvm = -1;
}

int vm_add_ram(struct vm *vm, unsigned slot, uint64_t gpa, uint64_t size,
	       void *host)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};
	int err;

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r) == 0)
		return 0;
	err = -errno;
	log_err("KVM refuses %llu MiB of memory at 0x%llx: %s",
		(unsigned long long)size >> 20, (unsigned long long)gpa,
		strerror(-err));
	return err;
}

void vm_irq_line(struct vm *vm, unsigned gsi, bool level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	/* Fails for a line that does not exist only: there is none. */
	if (ioctl(vm->fd, KVM_IRQ_LINE, &l) < 0)
		log_err("KVM refuses interrupt %u: %s", gsi, strerror(errno));
}

int vm_ioeventfd(struct vm *vm, const struct vm_store *s, int fd, bool add)
{
	struct kvm_ioeventfd e = {
		.datamatch = s->value, .addr = s->addr, .len = s->len,
		.fd = fd,
		.flags = (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN) |
			 (s->port ? KVM_IOEVENTFD_FLAG_PIO : 0) |
			 (s->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
	};

	return ioctl(vm->fd, KVM_IOEVENTFD, &e) < 0 ? -errno : 0;
}

void vm_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
	struct kvm_msi m = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32), .data = data,
	};

	/* A guest may write nonsense there: it then misses an interrupt. */
	ioctl(vm->fd, KVM_SIGNAL_MSI, &m);
}
