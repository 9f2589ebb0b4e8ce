/* SPDX-License-Identifier: MIT */
/*
 * Give up what a daemon does not need: privileges, capabilities, the file
 * system, the network, other processes, most system calls. Works without
 * root and inside containers; needs no mount and no helper process.
 *
 * Enter before the first thread, after everything has been opened. Knows
 * nothing of what the program does: the program hands over its list.
 */
#ifndef HOST_SANDBOX_H
#define HOST_SANDBOX_H

#include <stdbool.h>

struct sandbox {
	/* System calls beside those that every daemon needs; ends with NULL. */
	const char *const *syscalls;
	/* Requests of ioctl() that are allowed; ends with 0. May be NULL. */
	const unsigned long *ioctls;
	/* O_PATH folders from which names may be removed at exit; negative
	 * ones are passed over. */
	const int *unlink_dir_fd;
	unsigned nr_unlink_dirs;
	/*
	 * A further list, and what a program on the network needs: TCP, and
	 * files that it may open for reading, or all below a folder (where
	 * Landlock guards the others). NULL, false: nothing.
	 */
	const char *const *more_syscalls;
	const unsigned long *more_ioctls;
	bool network;
	bool connect;		/* to Unix sockets */
	const char *const *read_file;
	unsigned nr_read_files;
	/*
	 * One more that others may replace by a new file of that name. A rule
	 * is for a file, not for its name: so, unless we are root, whatever
	 * lies in its folder, and in that of the file that a link leads to,
	 * can be read.
	 */
	const char *read_replaced;
	/*
	 * O_PATH folders in which files may still be opened, and sockets made
	 * and removed, and what further system calls that takes of the
	 * program. Needs Landlock.
	 */
	const int *open_dir_fd;
	unsigned nr_open_dirs;
	bool trace;		/* log each layer at info level */
};

/*
 * Enter, for the rest of the process's life. A kernel that lacks a layer is
 * reported with a warning; a layer that fails is an error. A forbidden
 * system call is not executed: it ends the process with status 159 after a
 * line that names it. Returns 0, or -errno after an error line.
 */
int sandbox_enter(const struct sandbox *sb);

#endif
