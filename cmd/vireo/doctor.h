/* SPDX-License-Identifier: MIT */
/* Between the doctor and its examinations of the kernel's abilities. */
#ifndef VIREO_DOCTOR_H
#define VIREO_DOCTOR_H

#include <stdbool.h>

enum doctor_verdict {
	VERDICT_OK,
	VERDICT_NOTE,	/* works without, or slower */
	VERDICT_BAD,
};

/* Print one finding; @cure is printed unless all is well. */
void finding(enum doctor_verdict verdict, const char *name, const char *cure,
	     const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Each prints its findings; false: what depends on it cannot work. */
bool doctor_memfd(void);
bool doctor_shm(void);
bool doctor_ptrace(void);
void doctor_io_uring(void);
void doctor_sandbox(void);
void doctor_limits(void);
void doctor_hugepages(void);

#endif
