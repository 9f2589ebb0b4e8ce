/* SPDX-License-Identifier: MIT */
/*
 * A guest under User Mode Linux: a kernel that is a program. Its virtio_uml
 * bus speaks vhost-user to our devices; it needs no privilege and no
 * hardware virtualization. Knows only how to write its command line.
 */
#include "run.h"

#include <stdio.h>
#include <sys/statvfs.h>

static bool uml_usable(unsigned int mem_mib, char *why, size_t size)
{
	struct statvfs fs;
	unsigned long long mib;

	if (statvfs("/dev/shm", &fs) < 0 || fs.f_flag & ST_NOEXEC) {
		snprintf(why, size, "it keeps its memory in /dev/shm, which "
			 "is missing or mounted noexec");
		return false;
	}
	/* Without the room it would die of SIGBUS, later and wordless. */
	mib = (unsigned long long)fs.f_bavail * fs.f_frsize >> 20;
	if (mib < mem_mib) {
		snprintf(why, size, "it keeps its memory in /dev/shm, where "
			 "%llu of %u MiB are free: mount -o remount,size=%uM "
			 "/dev/shm, or a smaller --mem", mib, mem_mib,
			 2 * mem_mib);
		return false;
	}
	return true;
}

static void uml_command(const struct run *r, struct args *a)
{
	args_add(a, "%s", r->kernel.image);
	args_add(a, "mem=%uM", r->opt.mem_mib);
	args_add(a, "initrd=%s", r->initrd);
	/* What it leaves about itself belongs into our folder. */
	args_add(a, "uml_dir=%s/uml/", r->dir);
	args_add(a, "umid=guest");
	args_add(a, "con=null");
	args_add(a, r->serial ? "con0=fd:0,fd:1" : "con0=null,fd:1");
	args_add(a, "ssl=null");
	for (unsigned int i = 0; i < r->n_devs; i++)
		args_add(a, "virtio_uml.device=%s:%d", r->dev[i].socket,
			 r->dev[i].kind);
	args_add(a, "%s", r->cmdline);
}

const struct vmm vmm_uml = {
	.name = "User Mode Linux",
	.guest = GUEST_UML,
	.has_console = true,
	.serial = "tty0",
	.append = "",
	.usable = uml_usable,
	.command = uml_command,
};
