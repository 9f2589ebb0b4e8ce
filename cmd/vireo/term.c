/* SPDX-License-Identifier: MIT */
/* Terminals: modes and sizes. What flows through them is session.c's. */
#include "term.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static bool is_raw;

int term_raw(void)
{
	struct termios t;

	if (tcgetattr(0, &saved) < 0)
		return -errno;
	t = saved;
	cfmakeraw(&t);
	if (tcsetattr(0, TCSANOW, &t) < 0)
		return -errno;
	is_raw = true;
	return 0;
}

void term_restore(void)
{
	if (is_raw)
		tcsetattr(0, TCSANOW, &saved);
	is_raw = false;
}

static struct winsize size_now(void)
{
	struct winsize w = { .ws_row = 24, .ws_col = 80 };
	struct winsize mine;

	if (ioctl(0, TIOCGWINSZ, &mine) == 0 && mine.ws_row && mine.ws_col)
		w = mine;
	return w;
}

void term_size(unsigned int *rows, unsigned int *cols)
{
	struct winsize w = size_now();

	*rows = w.ws_row;
	*cols = w.ws_col;
}

int term_pair(int *ours, int *theirs)
{
	struct winsize w = size_now();
	struct termios t = { .c_cflag = CS8 | CREAD | CLOCAL };

	w.ws_row++;
	cfmakeraw(&t);
	if (openpty(ours, theirs, NULL, &t, &w) < 0)
		return -errno;
	fcntl(*ours, F_SETFD, FD_CLOEXEC);
	fcntl(*theirs, F_SETFD, FD_CLOEXEC);
	fcntl(*ours, F_SETFL, fcntl(*ours, F_GETFL) | O_NONBLOCK);
	return 0;
}

void term_resize(int ours)
{
	struct winsize w = size_now();

	ioctl(ours, TIOCSWINSZ, &w);
}
