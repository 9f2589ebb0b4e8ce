/* SPDX-License-Identifier: MIT */
/*
 * The states of zones in a file beside the disk, so that they outlive the
 * program and the machine. The file has two tables:
 *
 *   live     mapped and written at each change, so that a program that is
 *            killed goes on where it was. It may run ahead of the disk.
 *   durable  written by zones_store_save() alone, when the data below the
 *            write pointers are on the disk. Counts after the machine went
 *            down: the file says which boot wrote the live table.
 *
 * A record is one word of state and write pointer with a check beside it, in
 * one sector of the disk: it is there or it is not.
 */
#ifndef BACKEND_ZONES_STORE_H
#define BACKEND_ZONES_STORE_H

#include "backend/zones.h"

struct zones_store;

/* One zone as it is to be stored. */
struct zones_record {
	uint32_t index;
	uint64_t word;
};

/*
 * Open @path for the zones in @z, or make it, and bring them into the states
 * that it holds. @later: only in zones_store_begin(), as another program still
 * has it. 0, or -errno after an error line.
 */
int zones_store_open(struct zones_store **s, const char *path,
		     struct zones *z, bool read_only, bool later);
int zones_store_begin(struct zones_store *s);
void zones_store_close(struct zones_store *s);

/* What save() shall store of zone @index as it is now. */
struct zones_record zones_store_record(const struct zones *z, uint32_t index);
/* Bring records to the disk. Any thread, one at a time. 0 or -errno. */
int zones_store_save(struct zones_store *s, const struct zones_record *r,
		     uint32_t nr);

/* Tests: from now on as after another boot. */
void zones_store_forget_boot(struct zones_store *s);

#endif
