/* SPDX-License-Identifier: MIT */
/*
 * listens.h - wait for a daemon's socket. Its file says too little: it is
 * there from bind() on, a moment before listen(), and whoever connects between
 * the two is refused. To connect would be to be its first client.
 */
#ifndef TEST_LISTENS_H
#define TEST_LISTENS_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* @path: as the daemon was given it. */
static inline bool listens(const char *path)
{
	FILE *f = fopen("/proc/net/unix", "r");
	char line[512], name[256];
	bool yes = false;
	unsigned flags;

	if (!f)
		return false;
	/* Num RefCount Protocol Flags Type St Inode Path */
	while (!yes && fgets(line, sizeof(line), f))
		yes = sscanf(line, "%*s %*s %*s %x %*s %*s %*s %255s",
			     &flags, name) == 2 &&
		      flags & 0x10000 && !strcmp(name, path);
	fclose(f);
	return yes;
}

#endif
