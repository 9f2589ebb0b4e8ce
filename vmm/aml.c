/* SPDX-License-Identifier: MIT */
/* AML as bytes: see aml.h. */
#include "vmm/aml.h"

#include <stddef.h>
#include <string.h>

enum {
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_DUAL_NAME = 0x2e,
	OP_EXT = 0x5b,
	OP_EXT_DEVICE = 0x82,

	RES_PORTS = 0x47,
	RES_END = 0x79,
	RES_MEMORY32 = 0x86,
	RES_WINDOW32 = 0x87,
	RES_WINDOW16 = 0x88,
	RES_INTERRUPT = 0x89,

	WINDOW_MEMORY = 0,
	WINDOW_PORTS = 1,
	WINDOW_BUSES = 2,
	WINDOW_FIXED = 0x0c,	/* both ends are; positive decode */
	MEMORY_WRITABLE = 1,
	PORTS_ALL = 3,		/* not only those of ISA */
	INTERRUPT_SHARED = 0x09,	/* consumer, level, high, shared */

	LENGTH_BYTES = 3,	/* of a length: 20 bits are enough */
};

static void put(struct aml *a, const void *src, unsigned len)
{
	if (len > a->size - a->len) {
		a->full = true;
		return;
	}
	memcpy(a->buf + a->len, src, len);
	a->len += len;
}

static void put_num(struct aml *a, uint64_t v, unsigned len)
{
	unsigned char b[8];

	for (unsigned i = 0; i < len; i++)
		b[i] = (unsigned char)(v >> 8 * i);
	put(a, b, len);
}

static void put8(struct aml *a, unsigned v)
{
	put_num(a, v, 1);
}

/* Room for a length that is known later. */
static unsigned open_length(struct aml *a)
{
	unsigned at = a->len;

	put_num(a, 0, LENGTH_BYTES);
	return at;
}

/* ACPI 20.2.4: how many bytes follow, four bits, then the higher ones. */
void aml_close(struct aml *a, unsigned at)
{
	unsigned n = a->len - at;

	if (a->full)
		return;
	a->buf[at] = (unsigned char)((LENGTH_BYTES - 1) << 6 | (n & 0xf));
	a->buf[at + 1] = (unsigned char)(n >> 4);
	a->buf[at + 2] = (unsigned char)(n >> 12);
}

/* One segment, or "_SB_.PCI0": two. */
static void put_path(struct aml *a, const char *path)
{
	if (strlen(path) == 9) {
		put8(a, OP_DUAL_NAME);
		put(a, path, 4);
		path += 5;
	}
	put(a, path, 4);
}

unsigned aml_scope(struct aml *a, const char *path)
{
	unsigned at;

	put8(a, OP_SCOPE);
	at = open_length(a);
	put8(a, '\\');
	put_path(a, path);
	return at;
}

unsigned aml_device(struct aml *a, const char *name)
{
	unsigned at;

	put8(a, OP_EXT);
	put8(a, OP_EXT_DEVICE);
	at = open_length(a);
	put_path(a, name);
	return at;
}

unsigned aml_package(struct aml *a, unsigned count)
{
	unsigned at;

	put8(a, OP_PACKAGE);
	at = open_length(a);
	put8(a, count);
	return at;
}

void aml_name(struct aml *a, const char *name)
{
	put8(a, OP_NAME);
	put_path(a, name);
}

void aml_number(struct aml *a, uint64_t v)
{
	unsigned len = v > UINT32_MAX ? 8 : v > UINT16_MAX ? 4 :
		       v > UINT8_MAX ? 2 : 1;

	put8(a, len == 8 ? OP_QWORD : len == 4 ? OP_DWORD :
	     len == 2 ? OP_WORD : OP_BYTE);
	put_num(a, v, len);
}

void aml_string(struct aml *a, const char *text)
{
	put8(a, OP_STRING);
	put(a, text, (unsigned)strlen(text) + 1);
}

static unsigned hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* ACPI 19.3.4: three letters of five bits, four digits; big-endian. */
void aml_eisa_id(struct aml *a, const char *id)
{
	unsigned v = (unsigned)(id[0] - '@') << 26 |
		     (unsigned)(id[1] - '@') << 21 |
		     (unsigned)(id[2] - '@') << 16 |
		     hex(id[3]) << 12 | hex(id[4]) << 8 |
		     hex(id[5]) << 4 | hex(id[6]);

	put8(a, OP_DWORD);
	put_num(a, __builtin_bswap32(v), 4);
}

/* -- resources ----------------------------------------------------------- */

struct aml_template aml_template(struct aml *a)
{
	struct aml_template t;

	put8(a, OP_BUFFER);
	t.buffer = open_length(a);
	put8(a, OP_WORD);
	t.size_at = a->len;
	put_num(a, 0, 2);
	return t;
}

void aml_template_end(struct aml *a, struct aml_template t)
{
	unsigned n;

	put8(a, RES_END);
	put8(a, 0);	/* no checksum */
	if (a->full)
		return;
	n = a->len - (t.size_at + 2);
	a->buf[t.size_at] = (unsigned char)n;
	a->buf[t.size_at + 1] = (unsigned char)(n >> 8);
	aml_close(a, t.buffer);
}

void aml_memory(struct aml *a, uint32_t base, uint32_t size)
{
	put8(a, RES_MEMORY32);
	put_num(a, 9, 2);
	put8(a, MEMORY_WRITABLE);
	put_num(a, base, 4);
	put_num(a, size, 4);
}

void aml_ports(struct aml *a, uint16_t base, uint8_t size)
{
	put8(a, RES_PORTS);
	put8(a, 1);	/* 16 bits are decoded */
	put_num(a, base, 2);
	put_num(a, base, 2);
	put8(a, 1);
	put8(a, size);
}

void aml_interrupt(struct aml *a, uint32_t gsi)
{
	put8(a, RES_INTERRUPT);
	put_num(a, 6, 2);
	put8(a, INTERRUPT_SHARED);
	put8(a, 1);
	put_num(a, gsi, 4);
}

/* Granularity, first, last, translation, length. */
static void window(struct aml *a, unsigned bytes, unsigned type,
		   unsigned flags, uint32_t first, uint32_t last)
{
	put8(a, bytes == 2 ? RES_WINDOW16 : RES_WINDOW32);
	put_num(a, 3 + 5 * bytes, 2);
	put8(a, type);
	put8(a, WINDOW_FIXED);
	put8(a, flags);
	put_num(a, 0, bytes);
	put_num(a, first, bytes);
	put_num(a, last, bytes);
	put_num(a, 0, bytes);
	put_num(a, last - first + 1, bytes);
}

void aml_bus_window(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 2, WINDOW_BUSES, 0, first, last);
}

void aml_port_window(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 2, WINDOW_PORTS, PORTS_ALL, first, last);
}

void aml_memory_window(struct aml *a, uint32_t first, uint32_t last)
{
	window(a, 4, WINDOW_MEMORY, MEMORY_WRITABLE, first, last);
}
