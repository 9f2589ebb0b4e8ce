/* SPDX-License-Identifier: MIT */
/* A tap interface that a daemon is to use, opened on behalf of it. */
#ifndef CMD_VIREO_CTL_TAP_H
#define CMD_VIREO_CTL_TAP_H

#define CTL_TAPS_MAX	4u

/*
 * Does the command add a card with backend=tap=NAME? A daemon in its sandbox
 * cannot open the interface, while we may: its queues, one for each pair, go
 * with the command. Returns how many; 0 also where it cannot be opened, so
 * that the daemon tries, and says what is wrong. The caller closes them.
 */
unsigned ctl_open_taps(int nr_words, char **word, int fd[CTL_TAPS_MAX]);

#endif
