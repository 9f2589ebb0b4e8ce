/* SPDX-License-Identifier: MIT */
/* Private to the network back ends: how each kind is opened. */
#ifndef BACKEND_NETDEV_KINDS_H
#define BACKEND_NETDEV_KINDS_H

#include "backend/netdev.h"

/* 0, or -errno after an error line. */
int netdev_null_open(struct netdev **d, const struct netdev_conf *conf);
int netdev_echo_open(struct netdev **d, const struct netdev_conf *conf);
int netdev_tap_open(struct netdev **d, const struct netdev_conf *conf);
int netdev_switch_open(struct netdev **d, const struct netdev_conf *conf);
int netdev_pcap_open(struct netdev **d, const struct netdev_conf *conf);
int netdev_stream_open(struct netdev **d, const struct netdev_conf *conf);
int netdev_user_open(struct netdev **d, const struct netdev_conf *conf);

#endif
