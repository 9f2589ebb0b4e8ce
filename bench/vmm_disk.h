/* SPDX-License-Identifier: MIT */
/* The part of bench/vmm that is about requests: see vmm_disk.c. */
#ifndef BENCH_VMM_DISK_H
#define BENCH_VMM_DISK_H

/* Prints a line for each depth. 0, or 1 after an error line. */
int bench_disk(void);

#endif
