/* SPDX-License-Identifier: MIT */
/* The table at the end of a run. */
#ifndef VIREO_REPORT_H
#define VIREO_REPORT_H

#include "run.h"

#include <stdio.h>

void report_print(FILE *f, const struct run *r);

#endif
