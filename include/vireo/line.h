/* SPDX-License-Identifier: MIT */
/*
 * vireo/line.h - the level of an interrupt line, which several threads may
 * want to change: a part of the transports that have one.
 */
#ifndef VIREO_LINE_H
#define VIREO_LINE_H

#include <vireo/base.h>

struct vio_line {
	uint32_t work;		/* updates asked for; atomic */
	bool up;		/* as last said; whoever updates has it */
};

#endif
