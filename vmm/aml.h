/* SPDX-License-Identifier: MIT */
/*
 * Writes AML, the byte code of ACPI, as far as a machine's devices are
 * described by it: scopes, devices, names, numbers, strings, packages,
 * resource templates. Knows no device. (ACPI 6.4, chapters 6.4 and 20.)
 */
#ifndef VMM_AML_H
#define VMM_AML_H

#include <stdbool.h>
#include <stdint.h>

/* Text that did not fit is remembered, not written. */
struct aml {
	unsigned char *buf;
	unsigned len, size;
	bool full;
};

/* What has a length: give what open returned to aml_close(). */
unsigned aml_scope(struct aml *a, const char *path);
unsigned aml_device(struct aml *a, const char *name);
unsigned aml_package(struct aml *a, unsigned count);
void aml_close(struct aml *a, unsigned at);

/* The name of what comes next: a number, a string, a package, a template. */
void aml_name(struct aml *a, const char *name);
void aml_number(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *text);
/* "PNP0A03" as a number, as firmware writes it. */
void aml_eisa_id(struct aml *a, const char *id);

/* A template of resources. */
struct aml_template {
	unsigned buffer;	/* for aml_close() */
	unsigned size_at;	/* where its size stands */
};

struct aml_template aml_template(struct aml *a);
void aml_template_end(struct aml *a, struct aml_template t);

void aml_memory(struct aml *a, uint32_t base, uint32_t size);
void aml_ports(struct aml *a, uint16_t base, uint8_t size);
/* Level-triggered, active high, shared. */
void aml_interrupt(struct aml *a, uint32_t gsi);
/* Windows that a bridge passes on. */
void aml_bus_window(struct aml *a, uint16_t first, uint16_t last);
void aml_port_window(struct aml *a, uint16_t first, uint16_t last);
void aml_memory_window(struct aml *a, uint32_t first, uint32_t last);

#endif
