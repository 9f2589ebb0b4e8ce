/* SPDX-License-Identifier: MIT */
/* Opens tap interfaces for others: see ctl_tap.h. Knows no packet. */
#include "ctl_tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *value_of(int nr_words, char **word, const char *key)
{
	size_t len = strlen(key);

	for (int i = 0; i < nr_words; i++)
		if (!strncmp(word[i], key, len))
			return word[i] + len;
	return NULL;
}

static int open_one(struct ifreq *ifr)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || !ioctl(fd, TUNSETIFF, ifr))
		return fd;
	close(fd);
	return -1;
}

unsigned ctl_open_taps(int nr_words, char **word, int fd[CTL_TAPS_MAX])
{
	struct ifreq ifr = {
		.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
	};
	const char *name = value_of(nr_words, word, "backend=tap=");
	const char *pairs = value_of(nr_words, word, "queue-pairs=");
	unsigned long want = pairs ? strtoul(pairs, NULL, 10) : 1;
	unsigned n;

	if (strcmp(word[0], "add") || !name || strlen(name) >= IFNAMSIZ ||
	    strchr(name, ':') || want < 1 || want > CTL_TAPS_MAX)
		return 0;
	strcpy(ifr.ifr_name, name);
	if (want > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	for (n = 0; n < want; n++) {
		fd[n] = open_one(&ifr);
		if (fd[n] < 0)
			break;
	}
	while (n && n < want)
		close(fd[--n]);
	return n;
}
