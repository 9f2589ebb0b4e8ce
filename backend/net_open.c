/* SPDX-License-Identifier: MIT */
/* From a word to a wire: which kinds there are in this build. */
#include <errno.h>
#include <string.h>

#include "backend/netdev_kinds.h"
#include "host/log.h"

static const struct {
	const char *name;
	bool with_argument;
	int (*open)(struct netdev **d, const struct netdev_conf *conf);
	const char *missing;	/* the library that a build without it lacks */
} kinds[] = {
#ifdef HAVE_SLIRP
	{ "user", false, netdev_user_open, NULL },
#else
	{ "user", false, NULL, "libslirp-dev" },
#endif
	{ "tap", true, netdev_tap_open, NULL },
	{ "switch", true, netdev_switch_open, NULL },
	{ "null", false, netdev_null_open, NULL },
	{ "echo", false, netdev_echo_open, NULL },
};

int netdev_open(struct netdev **d, const struct netdev_conf *conf)
{
	size_t len = strcspn(conf->kind, "=");
	struct netdev_conf c = *conf;

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strlen(kinds[i].name) != len ||
		    strncmp(kinds[i].name, conf->kind, len))
			continue;
		c.argument = conf->kind[len] ? conf->kind + len + 1 : NULL;
		if (kinds[i].with_argument != (c.argument && *c.argument)) {
			log_err("--backend=%s %s", kinds[i].name,
				kinds[i].with_argument ?
				"needs a name after an equals sign" :
				"takes nothing after it");
			return -EINVAL;
		}
		if (kinds[i].open)
			return kinds[i].open(d, &c);
		log_err("--backend=%s: this build is without it; install %s, configure and build again",
			kinds[i].name, kinds[i].missing);
		return -EOPNOTSUPP;
	}
	log_err("--backend: there is no '%s'; see --help for those that are",
		conf->kind);
	return -EINVAL;
}
