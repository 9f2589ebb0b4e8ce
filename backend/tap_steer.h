/* SPDX-License-Identifier: MIT */
/*
 * The driver's table and hash in the kernel: a program of the kernel's own
 * machine (eBPF) gives each packet of a tap interface to the queue that the
 * driver wants it on, so that no thread has to pass it on. It knows plain
 * IPv4 and IPv6 with TCP and UDP; all else goes anywhere, and the device,
 * which looks at every packet, puts it right.
 */
#ifndef BACKEND_TAP_STEER_H
#define BACKEND_TAP_STEER_H

#include <vireo/net.h>

struct tap_steer;

/* NULL: this kernel has no such thing, or not for us. It takes CAP_BPF. */
struct tap_steer *tap_steer_open(void);
/*
 * The interface of @fd is to follow these rules, or, where they have no table,
 * the kernel's own. 0 or -errno. Needs the ioctl TUNSETSTEERINGEBPF.
 */
int tap_steer_set(struct tap_steer *t, int fd,
		  const struct vio_net_steering *s);
void tap_steer_close(struct tap_steer *t);

#endif
