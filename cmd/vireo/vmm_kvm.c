/* SPDX-License-Identifier: MIT */
/*
 * A guest in our own machine on KVM, vireo-vmm: the devices are in its
 * process, the network's only for legacy drivers. Knows only how to write its
 * command line.
 */
#include "probe.h"
#include "run.h"

#include <stdio.h>
#include <string.h>

static const char program[] = "vireo-vmm";

bool kvm_is_real(char *why, size_t size)
{
	static char said[256];
	static enum kvm_verdict verdict;
	static bool tried;

	if (!tried)
		verdict = probe_kvm(said, sizeof(said));
	tried = true;
	snprintf(why, size, "%s", said);
	return verdict == KVM_REAL;
}

static bool kvm_usable(unsigned int mem_mib, char *why, size_t size)
{
	char path[PATH_MAX];

	(void)mem_mib;
	if (!find_program(program, path))
		return kvm_is_real(why, size);
	snprintf(why, size, "%s is not beside this program, nor in PATH; it "
		 "is built for x86-64 only", program);
	return false;
}

static void add_console(const struct run *r, struct args *a)
{
	static const char *const words[] = {
		[CONSOLE_STDIO] = "stdio", [CONSOLE_PTY] = "pty",
		[CONSOLE_FILE] = "file", [CONSOLE_SOCKET] = "socket",
	};

	args_add(a, "--console=%s", words[r->opt.console]);
	if (r->opt.console_path)
		args_add(a, "--console-path=%s", r->opt.console_path);
}

static void add_device(const struct run *r, const struct device *d,
		       struct args *a)
{
	switch (d->kind) {
	case DEVICE_BLOCK:
		args_add(a, "--disk=%s%s", d->disk->path,
			 d->disk->read_only ? ",ro" : "");
		return;
	case DEVICE_CONSOLE:
		add_console(r, a);
		return;
	case DEVICE_ENTROPY:
		args_add(a, "--rng");
		return;
	case DEVICE_NET:
		if (device_is_inside(r, d))
			args_add(a, "--net=%s", r->opt.net);
		else
			args_add(a, "--vhost-user=net,%s", d->socket);
		return;
	}
}

static void kvm_command(const struct run *r, struct args *a)
{
	char path[PATH_MAX];

	if (find_program(program, path))
		snprintf(path, sizeof(path), "%s", program);
	args_add(a, "%s", path);
	args_add(a, "--kernel=%s", r->kernel.image);
	args_add(a, "--initrd=%s", r->initrd);
	args_add(a, "--append=%s", r->cmdline);
	args_add(a, "--mem=%uM", r->opt.mem_mib);
	args_add(a, "--cpus=%u", r->opt.cpus);
	/* The log is our standard error, or the user sits at the port. */
	args_add(a, r->serial ? "--serial=stdio" : "--serial=stderr");
	if (r->opt.verbose)
		args_add(a, "--verbose");
	if (r->opt.transport)
		args_add(a, "--transport=%s", r->opt.transport);
	args_add(a, "--stats-dir=%s", r->dir);
	for (unsigned int i = 0; i < r->n_devs; i++)
		add_device(r, &r->dev[i], a);
}

const struct vmm vmm_kvm = {
	.name = "KVM",
	.guest = GUEST_PC,
	.has_console = true,
	.has_devices = true,
	.serial = "ttyS0",
	.append = "",
	.usable = kvm_usable,
	.command = kvm_command,
};
