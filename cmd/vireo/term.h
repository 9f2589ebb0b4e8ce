/* SPDX-License-Identifier: MIT */
/* The user's terminal, and the pair of terminals the guest sits at. */
#ifndef VIREO_TERM_H
#define VIREO_TERM_H

#include <stdbool.h>

/* Raw mode on and off; off is harmless when it was not on. */
int term_raw(void);
void term_restore(void);

/*
 * A raw pseudo-terminal, one row larger than ours: Linux reads the size of
 * a console only when it is told of a change, so the right size has to come
 * as one, by term_resize(), once the guest listens.
 * Return 0 or a negative errno.
 */
int term_pair(int *ours, int *theirs);

/* Ours, or 80 by 24. */
void term_size(unsigned int *rows, unsigned int *cols);

/* Give theirs the size of ours, or 80 by 24. */
void term_resize(int ours);

#endif
