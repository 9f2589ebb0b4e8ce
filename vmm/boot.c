/* SPDX-License-Identifier: MIT */
/* A Linux kernel into the guest's memory: see boot.h. */
#include "vmm/boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"
#include "vmm/bzimage.h"
#include "vmm/layout.h"

enum {
	E820_USABLE = 1,
	E820_RESERVED = 2,
	LOADER_UNDEFINED = 0xff,
	PAGE = 4096,
	PAGE_TABLE_ENTRIES = 512,
	LARGE_PAGE = 2 << 20,
	ENTRY_TABLE = 3,		/* present, writable */
	ENTRY_LARGE = 0x83,		/* and a page of 2 MiB */
	GIB_MAPPED = 4,
};

VIO_STATIC_ASSERT(sizeof(struct boot_params) == PAGE,
		  "the boot parameters are one page");

/* -- files --------------------------------------------------------------- */

static int open_file(const char *what, const char *path, uint64_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = -errno;

		log_err("cannot open the %s %s: %s", what, path,
			strerror(-err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (!S_ISREG(st.st_mode)) {
		log_err("the %s %s is no file", what, path);
		close(fd);
		return -EINVAL;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

static int read_all(int fd, void *to, uint64_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		to = (char *)to + n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* -- the kernel ---------------------------------------------------------- */

static int load_kernel(struct ram *ram, const char *path, struct bzimage *b,
		       struct boot_params *params)
{
	unsigned char head[BZIMAGE_HEAD] = { 0 };
	const char *why = NULL;
	uint64_t size;
	void *to;
	int fd = open_file("kernel", path, &size), err;

	if (fd < 0)
		return fd;
	err = read_all(fd, head, size < sizeof(head) ? size : sizeof(head), 0);
	if (!err)
		why = bzimage_parse(b, head, size);
	if (why) {
		log_err("cannot boot %s: %s", path, why);
		err = -ENOEXEC;
	}
	to = err ? NULL : ram_at(ram, b->load, b->room);
	if (!err && !to) {
		log_err("%s needs memory from %llu to %llu MiB to start in; the guest has %llu MiB: give it more",
			path, (unsigned long long)b->load >> 20,
			(unsigned long long)(b->load + b->room) >> 20,
			(unsigned long long)(ram->low + ram->high) >> 20);
		err = -ENOMEM;
	} else if (!err) {
		memcpy((char *)params + BZIMAGE_HDR, head + BZIMAGE_HDR,
		       b->hdr_len);
		err = read_all(fd, to, b->code_len, b->code_off);
		if (err)
			log_err("cannot read %s: %s", path, strerror(-err));
	}
	close(fd);
	return err;
}

/* As high as the kernel permits, away from where it will grow. */
static int load_initrd(struct ram *ram, const char *path,
		       const struct bzimage *b, struct boot_params *params)
{
	uint64_t size, end = ram->low, at;
	int fd = open_file("initramfs", path, &size), err;

	if (fd < 0)
		return fd;
	if (b->initrd_max < end)
		end = b->initrd_max + 1;
	at = size < end ? (end - size) & ~(uint64_t)(PAGE - 1) : 0;
	if (at < b->load + b->room) {
		log_err("no room for the initramfs %s of %llu MiB beside the kernel: give the guest more memory",
			path, (unsigned long long)size >> 20);
		close(fd);
		return -ENOMEM;
	}
	err = read_all(fd, ram->host + at, size, 0);
	if (err)
		log_err("cannot read %s: %s", path, strerror(-err));
	close(fd);
	params->hdr.ramdisk_image = (uint32_t)at;
	params->hdr.ramdisk_size = (uint32_t)size;
	return err;
}

static int put_cmdline(struct ram *ram, const char *text,
		       const struct bzimage *b, struct boot_params *params)
{
	size_t len = strlen(text), room = VMM_LOW_END - VMM_CMDLINE - 1;

	if (b->cmdline_max < room)
		room = b->cmdline_max;
	if (len > room) {
		log_err("the kernel's command line has %zu characters; this kernel takes %zu",
			len, room);
		return -E2BIG;
	}
	memcpy(ram->host + VMM_CMDLINE, text, len + 1);
	params->hdr.cmd_line_ptr = VMM_CMDLINE;
	return 0;
}

/* -- what the guest is told of its memory -------------------------------- */

static void add_range(struct boot_params *params, uint64_t addr,
		      uint64_t size, uint32_t type)
{
	struct boot_e820_entry *e = &params->e820_table[params->e820_entries];

	e->addr = addr;
	e->size = size;
	e->type = type;
	params->e820_entries++;
}

static void put_map(const struct ram *ram, struct boot_params *params)
{
	add_range(params, 0, VMM_LOW_END, E820_USABLE);
	add_range(params, VMM_ACPI, VMM_ACPI_END - VMM_ACPI, E820_RESERVED);
	add_range(params, VMM_HIGH, ram->low - VMM_HIGH, E820_USABLE);
	if (ram->high)
		add_range(params, VMM_4G, ram->high, E820_USABLE);
}

/* -- what a processor in long mode needs --------------------------------- */

static void put64(struct ram *ram, uint64_t at, uint64_t v)
{
	memcpy(ram->host + at, &v, sizeof(v));
}

/* The first 4 GiB, one to one, in large pages. */
static void put_page_tables(struct ram *ram)
{
	const uint64_t pml4 = VMM_PAGE_TABLES, pdpt = pml4 + PAGE,
		       pd = pdpt + PAGE;
	uint64_t i;

	put64(ram, pml4, pdpt | ENTRY_TABLE);
	for (i = 0; i < GIB_MAPPED; i++)
		put64(ram, pdpt + 8 * i, (pd + PAGE * i) | ENTRY_TABLE);
	for (i = 0; i < GIB_MAPPED * PAGE_TABLE_ENTRIES; i++)
		put64(ram, pd + 8 * i, i * LARGE_PAGE | ENTRY_LARGE);
}

/* The protocol's selectors: 0x10 code, 0x18 data. */
static void put_gdt(struct ram *ram)
{
	put64(ram, VMM_GDT, 0);
	put64(ram, VMM_GDT + 8, 0);
	put64(ram, VMM_GDT + 16, 0x00af9b000000ffffull);
	put64(ram, VMM_GDT + 24, 0x00cf93000000ffffull);
}

int boot_load(struct ram *ram, const struct boot_conf *conf, uint64_t *entry)
{
	struct boot_params *params =
		(struct boot_params *)(void *)(ram->host + VMM_BOOT_PARAMS);
	struct bzimage b;
	int err;

	memset(params, 0, sizeof(*params));
	err = load_kernel(ram, conf->kernel, &b, params);
	if (!err && conf->initrd)
		err = load_initrd(ram, conf->initrd, &b, params);
	if (!err)
		err = put_cmdline(ram, conf->cmdline ? conf->cmdline : "",
				  &b, params);
	if (err)
		return err;
	params->hdr.type_of_loader = LOADER_UNDEFINED;
	params->acpi_rsdp_addr = VMM_ACPI;
	put_map(ram, params);
	put_page_tables(ram);
	put_gdt(ram);
	*entry = b.entry;
	return 0;
}
