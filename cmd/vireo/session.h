/* SPDX-License-Identifier: MIT */
/*
 * The time between the guest's start and its end: bytes to and from it, its
 * steps, and whatever ends it.
 */
#ifndef VIREO_SESSION_H
#define VIREO_SESSION_H

#include "output.h"
#include "run.h"

#include <sys/types.h>

enum session_end {
	END_NOT_YET,
	END_POWER_OFF,	/* the hypervisor ended well */
	END_VMM,	/* the hypervisor ended badly */
	END_PANIC,
	END_DEVICE,	/* a back end died */
	END_SIGNAL,	/* we were told to stop */
	END_ESCAPE,	/* the user typed the escape key */
	END_TIMEOUT,
};

enum {
	STEPS_MAX = 16,
	INPUT_SIZE = 4096,
};

struct step {
	char name[24];
	char verdict[8];	/* ok, bad, skip */
	char detail[160];
};

struct session {
	struct run *run;
	int signals;
	int console;	/* our end of the guest's terminal; -1: none, gone */
	int log;	/* what the hypervisor prints; -1: gone */
	int dev_log;	/* what the back ends print; -1: gone */
	bool filtered;
	bool raw_input;	/* a person types */
	bool sized;	/* the guest was told the terminal's size */
	bool input_open;	/* something more to come from stdin */
	bool ready;	/* the guest takes input */
	char input[INPUT_SIZE];
	size_t input_len;
	char input_last;
	struct filter filter;
	struct tail tail;
	struct tail dev_tail;
	struct step steps[STEPS_MAX];
	unsigned int n_steps;
	int exit_code;	/* what the guest told; -1: nothing */
	enum session_end end;
	int signal;
	const struct device *dead;
};

/*
 * Start with this: from now on signals wait for the loop.
 * Return 0 or a negative errno.
 */
int session_init(struct session *s, struct run *r);

/* Until the guest has ended or has to end; it may still run. */
void session_loop(struct session *s);

/*
 * After the guest's end: let the back ends write their numbers, end them,
 * and take what is left in the console.
 */
void session_close(struct session *s);

#endif
