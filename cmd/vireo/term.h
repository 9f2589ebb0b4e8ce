/* SPDX-License-Identifier: MIT */
/* The user's terminal, and the pair of terminals the guest sits at. */
#ifndef VIREO_TERM_H
#define VIREO_TERM_H

#include <stdbool.h>

/* Raw mode on and off; off is harmless when it was not on. */
int term_raw(void);
void term_restore(void);

/*
 * A raw pseudo-terminal with the size of ours, or 80 by 24.
 * Return 0 or a negative errno.
 */
int term_pair(int *ours, int *theirs);

/* Our terminal's size has changed: so has theirs. */
void term_resize(int ours);

#endif
