/* SPDX-License-Identifier: MIT */
/*
 * The command line of `vireo run`: from words to struct run_options, with
 * everything checked that can be checked without starting anything.
 */
#include "run.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

enum {
	SECTOR = 512,
	MEM_DEFAULT_MIB = 128,
	MEM_MIN_MIB = 64,
	MEM_MAX_MIB = 1 << 20,
	CPUS_MAX = 64,
	CHECK_LIMIT_S = 180,
	DONE_OK = 1,		/* exit code 0, plus one */
	DONE_USAGE = 3,		/* exit code 2, plus one */
};

static const char usage[] =
"Usage: vireo run [OPTION...] [-- COMMAND...]\n"
"\n"
"Boots a Linux guest whose disk, console and entropy are Vireo's. On a\n"
"terminal it gives a shell; without one, and without a disk or a command,\n"
"the guest checks itself and a table tells the result.\n"
"\n"
"  --disk FILE[,ro]     give this disk to the guest (several: vda, vdb ...)\n"
"  --kernel FILE        boot this kernel\n"
"  --initrd FILE        with this initramfs instead of ours\n"
"  --append WORDS       add these to the kernel's command line\n"
"  --net WHAT[,OPTION]  a network: user, switch=NAME, tap=NAME; see vireo-net(1)\n"
"  --hostfwd RULES      with user: ports of this host that lead to the guest's\n"
"  --host-loopback      with user: the guest reaches 127.0.0.1 at 10.0.2.2\n"
"  --record FILE        write the network's packets to this file (pcap)\n"
"  --mem MIB            memory of the guest (128)\n"
"  --cpus N             processors of the guest (1)\n"
"  --console WHAT       stdio, serial, pty, file:PATH or socket:PATH\n"
"  --vmm NAME           kvm (our own machine), qemu-kvm, uml or qemu\n"
"                       (software emulation)\n"
"  --transport NAME     of our machine's devices: pci or mmio\n"
"  --timeout SECONDS    stop the guest after that time\n"
"  --keep               keep the folder with the guest's files\n"
"  -v, --verbose        show what is started and what the guest prints\n"
"  -h, --help           print this text\n"
"\n"
"COMMAND runs in the guest; its exit code becomes ours.\n";

static int add_disk(struct run_options *o, char *text)
{
	struct run_disk *d = &o->disks[o->n_disks];
	char *comma = strrchr(text, ',');

	if (o->n_disks == RUN_DISKS_MAX) {
		complain("at most %d disks", RUN_DISKS_MAX);
		return -E2BIG;
	}
	if (comma && !strcmp(comma, ",ro")) {
		*comma = '\0';
		d->read_only = true;
	}
	d->path = text;
	o->n_disks++;
	return 0;
}

static int set_number(unsigned int *out, const char *name, const char *text,
		      unsigned int min, unsigned int max)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || v < min ||
	    v > max) {
		complain("--%s %s: not a number from %u to %u", name, text,
			 min, max);
		return -EINVAL;
	}
	*out = (unsigned int)v;
	return 0;
}

static int set_vmm(struct run_options *o, const char *text)
{
	static const char *const names[] = {
		[VMM_KVM] = "kvm", [VMM_QEMU_KVM] = "qemu-kvm",
		[VMM_UML] = "uml", [VMM_QEMU] = "qemu",
	};

	for (size_t i = VMM_KVM; i < ARRAY_LEN(names); i++)
		if (!strcmp(text, names[i])) {
			o->vmm = (enum vmm_choice)i;
			return 0;
		}
	complain("--vmm %s: it is kvm, qemu-kvm, uml or qemu", text);
	return -EINVAL;
}

static int set_transport(struct run_options *o, const char *text)
{
	static const char *const names[] = {
		"pci", "pci-transitional", "pci-legacy", "mmio",
		"mmio-legacy",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(text, names[i])) {
			o->transport = names[i];
			return 0;
		}
	complain("--transport %s: it is pci, pci-transitional, "
		 "pci-legacy, mmio or mmio-legacy", text);
	return -EINVAL;
}

static int set_console(struct run_options *o, const char *text)
{
	static const struct {
		const char *word;
		enum console_choice choice;
	} plain[] = {
		{ "stdio", CONSOLE_STDIO },
		{ "serial", CONSOLE_SERIAL },
		{ "pty", CONSOLE_PTY },
	};

	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (!strcmp(text, plain[i].word)) {
			o->console = plain[i].choice;
			return 0;
		}
	if (!strncmp(text, "file:", 5) && text[5]) {
		o->console = CONSOLE_FILE;
		o->console_path = text + 5;
		return 0;
	}
	if (!strncmp(text, "socket:", 7) && text[7]) {
		o->console = CONSOLE_SOCKET;
		o->console_path = text + 7;
		return 0;
	}
	complain("--console %s: it is stdio, serial, pty, file:PATH or "
		 "socket:PATH", text);
	return -EINVAL;
}

static int file_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, size) < 0 ? -errno : 0;
	*size = (uint64_t)st.st_size;
	return 0;
}

/* The back end would find the same; here it costs no half-started guest. */
static int check_disk(const struct run_disk *d)
{
	const int flags = O_CLOEXEC | (d->read_only ? O_RDONLY : O_RDWR);
	int fd = open(d->path, flags);
	uint64_t size = 0;
	int err;

	if (fd < 0) {
		complain("cannot open disk image %s: %s%s", d->path,
			 strerror(errno),
			 !d->read_only && (errno == EACCES || errno == EROFS) ?
			 "; add ,ro to give it read-only" : "");
		return -errno;
	}
	err = file_size(fd, &size);
	close(fd);
	if (err) {
		complain("disk image %s: %s", d->path, strerror(-err));
		return err;
	}
	if (size < SECTOR || size % SECTOR) {
		complain("disk image %s has %llu bytes; a disk is one or more "
			 "whole sectors of %d bytes", d->path,
			 (unsigned long long)size, SECTOR);
		return -EINVAL;
	}
	return 0;
}

static int check_readable(const char *what, const char *path)
{
	if (!path || access(path, R_OK) == 0)
		return 0;
	complain("cannot read %s %s: %s", what, path, strerror(errno));
	return -errno;
}

/* Two views of one image, one of them written to: a guest would ruin it. */
static int check_twice(const struct run_disk *a, const struct run_disk *b)
{
	struct stat x, y;

	if (a->read_only && b->read_only)
		return 0;
	if (stat(a->path, &x) < 0 || stat(b->path, &y) < 0)
		return -errno;
	if (x.st_dev != y.st_dev || x.st_ino != y.st_ino)
		return 0;
	complain("disk image %s is given twice; that is safe only if both "
		 "are ,ro", b->path);
	return -EINVAL;
}

static int check_disks(const struct run_options *o)
{
	for (unsigned int i = 0; i < o->n_disks; i++) {
		if (check_disk(&o->disks[i]))
			return -EINVAL;
		for (unsigned int k = 0; k < i; k++)
			if (check_twice(&o->disks[k], &o->disks[i]))
				return -EINVAL;
	}
	return 0;
}

static int check_all(const struct run_options *o)
{
	if (check_disks(o))
		return -EINVAL;
	if (check_readable("kernel", o->kernel) ||
	    check_readable("initramfs", o->initrd))
		return -EINVAL;
	if (o->kernel && o->vmm == VMM_AUTO) {
		complain("--kernel needs --vmm: uml for a User Mode Linux "
			 "program, another for a PC kernel");
		return -EINVAL;
	}
	if (o->transport && o->vmm != VMM_KVM) {
		complain("--transport is for our own machine: add --vmm kvm");
		return -EINVAL;
	}
	if ((o->hostfwd || o->host_loopback) &&
	    (!o->net || strcmp(o->net, "user"))) {
		complain("--hostfwd and --host-loopback need --net user");
		return -EINVAL;
	}
	if ((o->hostfwd || o->host_loopback || o->record || o->net_more) &&
	    o->transport &&
	    strcmp(o->transport, "pci") && strcmp(o->transport, "mmio")) {
		complain("--hostfwd, --host-loopback, --record and options of "
			 "vireo-net: not with a network for legacy drivers; "
			 "take --transport pci");
		return -EINVAL;
	}
	if (o->record && !o->net) {
		complain("--record needs a network: add --net user");
		return -EINVAL;
	}
	if (o->command && o->initrd) {
		complain("a command runs in our initramfs, not in yours: "
			 "leave out --initrd or the command");
		return -EINVAL;
	}
	return 0;
}

/* What kind of run is meant. */
static void choose_mode(struct run_options *o)
{
	bool terminal = isatty(0) && isatty(1);
	bool own_console = o->console == CONSOLE_STDIO ||
			   o->console == CONSOLE_SERIAL;

	if (o->initrd)
		o->mode = MODE_FOREIGN;
	else if (o->command)
		o->mode = MODE_COMMAND;
	else if (terminal || !own_console)
		o->mode = MODE_SHELL;
	else if (o->n_disks)
		o->mode = MODE_SCRIPT;
	else
		o->mode = MODE_CHECK;
	if (o->mode == MODE_CHECK && !o->limit_s)
		o->limit_s = CHECK_LIMIT_S;
}

static int parse_one(struct run_options *o, int c)
{
	switch (c) {
	case 'd':
		return add_disk(o, optarg);
	case 'k':
		o->kernel = optarg;
		return 0;
	case 'i':
		o->initrd = optarg;
		return 0;
	case 'a':
		o->append = optarg;
		return 0;
	case 'n':
		o->net = optarg;
		o->net_more = strchr(optarg, ',');
		if (o->net_more)
			*o->net_more++ = 0;
		return 0;
	case 'f':
		o->hostfwd = optarg;
		return 0;
	case 'l':
		o->host_loopback = true;
		return 0;
	case 'r':
		o->record = optarg;
		return 0;
	case 'm':
		return set_number(&o->mem_mib, "mem", optarg, MEM_MIN_MIB,
				  MEM_MAX_MIB);
	case 'c':
		return set_number(&o->cpus, "cpus", optarg, 1, CPUS_MAX);
	case 'o':
		return set_console(o, optarg);
	case 'V':
		return set_vmm(o, optarg);
	case 'T':
		return set_transport(o, optarg);
	case 't':
		return set_number(&o->limit_s, "timeout", optarg, 1, 1 << 20);
	case 'K':
		o->keep = true;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	default:
		fputs("vireo: `vireo run --help` lists the options\n", stderr);
		return -EINVAL;
	}
}

int run_options_parse(struct run_options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "disk", required_argument, NULL, 'd' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "initrd", required_argument, NULL, 'i' },
		{ "append", required_argument, NULL, 'a' },
		{ "net", required_argument, NULL, 'n' },
		{ "hostfwd", required_argument, NULL, 'f' },
		{ "host-loopback", no_argument, NULL, 'l' },
		{ "record", required_argument, NULL, 'r' },
		{ "mem", required_argument, NULL, 'm' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "console", required_argument, NULL, 'o' },
		{ "vmm", required_argument, NULL, 'V' },
		{ "transport", required_argument, NULL, 'T' },
		{ "timeout", required_argument, NULL, 't' },
		{ "keep", no_argument, NULL, 'K' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	o->mem_mib = MEM_DEFAULT_MIB;
	o->cpus = 1;
	while ((c = getopt_long(argc, argv, "+vh", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return DONE_OK;
		}
		if (parse_one(o, c))
			return DONE_USAGE;
	}
	if (optind < argc && strcmp(argv[optind - 1], "--")) {
		complain("what is '%s'? a command for the guest comes after "
			 "--", argv[optind]);
		return DONE_USAGE;
	}
	if (optind < argc)
		o->command = argv + optind;
	if (check_all(o))
		return DONE_USAGE;
	choose_mode(o);
	return 0;
}
