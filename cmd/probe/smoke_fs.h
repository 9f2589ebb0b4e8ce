/* SPDX-License-Identifier: MIT */
/* The smoke test of a file system: requests in, sentences out. */
#ifndef CMD_PROBE_SMOKE_FS_H
#define CMD_PROBE_SMOKE_FS_H

#include <stdbool.h>
#include <stdint.h>

#include "host/text.h"

/* Send @in, wait for the answer: up to @room bytes at @out, *@used of them. */
typedef bool smoke_fs_ask(void *ctx, const void *in, uint32_t len, void *out,
			  uint32_t room, uint32_t *used);
typedef void smoke_fs_tell(void *ctx, bool good, const char *text);

/* Changes nothing there. */
bool smoke_fs(smoke_fs_ask *ask, void *ctx, smoke_fs_tell *tell);

#endif
