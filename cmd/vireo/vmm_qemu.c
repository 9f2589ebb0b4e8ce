/* SPDX-License-Identifier: MIT */
/*
 * A guest under QEMU, with KVM or in software emulation. Its memory is a
 * shared memfd, for our devices read and write it in place. QEMU has
 * vhost-user front ends for disks and entropy, but none for a console: the
 * user sits at its serial port.
 */
#include "devices.h"
#include "run.h"

#include <stdio.h>
#include <string.h>

static const char program[] = "qemu-system-x86_64";

static bool qemu_usable(unsigned int mem_mib, char *why, size_t size)
{
	(void)mem_mib;
	if (have_tool(program))
		return true;
	snprintf(why, size, "%s is missing: apt-get install qemu-system-x86",
		 program);
	return false;
}

static bool kvm_usable(unsigned int mem_mib, char *why, size_t size)
{
	return qemu_usable(mem_mib, why, size) &&
	       kvm_is_real(why, size);
}

/*
 * Without vectors: in software emulation QEMU 7.2 dies of a network device
 * behind vhost-user that has them, as soon as the guest starts it. Else one
 * for each queue, the control queue's and the configuration's among them.
 */
static void add_net(const struct run *r, unsigned int i, bool kvm,
		    struct args *a)
{
	char mac[NET_OPTION_MAX], mtu[NET_OPTION_MAX];
	char host_mtu[NET_OPTION_MAX + 16] = "", number[NET_OPTION_MAX];
	unsigned int pairs = 1;

	/* What is no number, the device's program refuses. */
	if (net_option(r, "queue-pairs", number))
		sscanf(number, "%u", &pairs);
	args_add(a, "-netdev");
	args_add(a, "vhost-user,id=n%u,chardev=c%u,queues=%u", i, i, pairs);
	args_add(a, "-device");
	/* Both are QEMU's own here: it does not ask the back end. */
	net_option(r, "mac", mac);
	if (net_option(r, "mtu", mtu))
		snprintf(host_mtu, sizeof(host_mtu), ",host_mtu=%s", mtu);
	args_add(a, "virtio-net-pci,netdev=n%u,mac=%s%s,romfile=,mq=%s,vectors=%u",
		 i, mac, host_mtu, pairs > 1 ? "on" : "off",
		 kvm ? 2 * pairs + 2 : 0);
}

static void add_device(const struct run *r, const struct device *d,
		       unsigned int i, bool kvm, struct args *a)
{
	args_add(a, "-chardev");
	args_add(a, "socket,id=c%u,path=%s", i, d->socket);
	if (d->kind == DEVICE_NET) {
		add_net(r, i, kvm, a);
		return;
	}
	args_add(a, "-device");
	if (d->kind == DEVICE_BLOCK)
		args_add(a, "vhost-user-blk-pci,chardev=c%u,num-queues=%u", i,
			 d->queues);
	else
		args_add(a, "vhost-user-rng-pci,chardev=c%u", i);
}

static void common_command(const struct run *r, struct args *a,
			   const char *accel, const char *cpu)
{
	args_add(a, "%s", program);
	args_add(a, "-nodefaults");
	args_add(a, "-no-user-config");
	args_add(a, "-display");
	args_add(a, "none");
	args_add(a, "-accel");
	args_add(a, "%s", accel);
	args_add(a, "-cpu");
	args_add(a, "%s", cpu);
	args_add(a, "-machine");
	args_add(a, "q35,memory-backend=ram");
	args_add(a, "-object");
	args_add(a, "memory-backend-memfd,id=ram,size=%uM,share=on",
		 r->opt.mem_mib);
	args_add(a, "-m");
	args_add(a, "%u", r->opt.mem_mib);
	args_add(a, "-smp");
	args_add(a, "%u", r->opt.cpus);
	args_add(a, "-serial");
	args_add(a, "stdio");
	args_add(a, "-kernel");
	args_add(a, "%s", r->kernel.image);
	args_add(a, "-initrd");
	args_add(a, "%s", r->initrd);
	args_add(a, "-append");
	args_add(a, "%s", r->cmdline);
	for (unsigned int i = 0; i < r->n_devs; i++)
		add_device(r, &r->dev[i], i, !strcmp(accel, "kvm"), a);
}

static void kvm_command(const struct run *r, struct args *a)
{
	common_command(r, a, "kvm", "host");
}

static void tcg_command(const struct run *r, struct args *a)
{
	common_command(r, a, "tcg", "max");
}

/*
 * Linux tests its timer against the clock at boot and panics when an
 * emulator on a busy host is late: have it not test.
 */
static const char append[] = "no_timer_check ";

const struct vmm vmm_qemu_kvm = {
	.name = "QEMU with KVM",
	.guest = GUEST_PC,
	.serial = "ttyS0",
	.append = append,
	.usable = kvm_usable,
	.command = kvm_command,
};

const struct vmm vmm_qemu = {
	.name = "QEMU in software emulation",
	.guest = GUEST_PC,
	.serial = "ttyS0",
	.append = append,
	.usable = qemu_usable,
	.command = tcg_command,
};
