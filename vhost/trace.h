/* SPDX-License-Identifier: MIT */
/*
 * trace.h - static probes (USDT, provider "vireo") for perf, bpftrace and
 * SystemTap: see doc/daemons.md. Each is one instruction that does nothing,
 * and a note in the program; where <sys/sdt.h> was missing it is nothing.
 */
#ifndef VHOST_TRACE_H
#define VHOST_TRACE_H

#ifdef VIREO_SDT
#include <sys/sdt.h>
#define VHU_TRACE1(name, a)		DTRACE_PROBE1(vireo, name, a)
#define VHU_TRACE3(name, a, b, c)	DTRACE_PROBE3(vireo, name, a, b, c)
#else
#define VHU_TRACE1(name, a)		((void)(a))
#define VHU_TRACE3(name, a, b, c)	((void)(a), (void)(b), (void)(c))
#endif

#endif
