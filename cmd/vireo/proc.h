/* SPDX-License-Identifier: MIT */
/*
 * Long-lived children, each in a session of its own, and the janitor that
 * outlives us to end them if we are killed. Knows nothing of guests.
 */
#ifndef VIREO_PROC_H
#define VIREO_PROC_H

#include "util.h"

#include <stdbool.h>
#include <sys/types.h>

struct proc {
	pid_t pid;	/* also its session and process group */
	int status;	/* of waitpid, once it has ended */
	bool running;
};

struct proc_io {
	int in, out, err;	/* -1: /dev/null */
	int keep;		/* becomes descriptor 3; -1: none */
	bool tty;		/* @in becomes its controlling terminal */
	/*
	 * No death signal. User Mode Linux traces the guest's processes: if
	 * it alone is killed they run on as processes of the host, with the
	 * host's system calls. Only its whole group may be killed at once,
	 * which is what the janitor does.
	 */
	bool whole_group;
};

struct janitor {
	pid_t pid;
	int pipe;
};

/*
 * Start a program; frees @a. Signals are unblocked in it, no core is dumped,
 * and it dies with us (see whole_group). Return 0 or a negative errno.
 */
int proc_start(struct proc *p, struct args *a, const struct proc_io *io);

/*
 * Has it ended? Then what is left of its process group is killed, and
 * p->status is set. Never blocks.
 */
bool proc_ended(struct proc *p);

/* Kill the whole group now and wait. Harmless on what has ended. */
void proc_kill(struct proc *p);

/* "exit code 3", "signal 9". */
const char *proc_how(const struct proc *p, char *buf, size_t size);

/*
 * The janitor waits until we are gone. Unless it was dismissed before, it
 * then kills the groups it was told of and removes @dir (NULL: nothing).
 */
int janitor_start(struct janitor *j, const char *dir);
void janitor_tell(struct janitor *j, pid_t group);
void janitor_dismiss(struct janitor *j);

#endif
