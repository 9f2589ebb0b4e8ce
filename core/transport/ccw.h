/* SPDX-License-Identifier: MIT */
/*
 * ccw.h - what the files of the channel I/O transport's device side ask of
 * each other. It knows no device type.
 */
#ifndef CORE_TRANSPORT_CCW_H
#define CORE_TRANSPORT_CCW_H

#include <vireo/ccw.h>

/* A command that is being carried out. */
struct vio_ccw_job {
	struct vio_ccw *c;
	const struct vio_ccw_command *cmd;
	struct vio_ccw_status *st;
};

/* -- ccw.c --------------------------------------------------------------- */

/* The command's data, from its start. False: program check. */
bool vio_ccw_get(struct vio_ccw_job *j, void *dst, size_t len);
bool vio_ccw_put(struct vio_ccw_job *j, const void *src, size_t len);
int vio_ccw_reject(struct vio_ccw_job *j);
bool vio_ccw_length(struct vio_ccw_job *j, size_t len);
size_t vio_ccw_length_upto(struct vio_ccw_job *j, size_t len);
/* Guest memory in one piece, to change in place; NULL where there is none. */
void *vio_ccw_at(const struct vio_ccw *c, uint64_t addr, uint64_t len);

/* -- ccw_cmds.c ---------------------------------------------------------- */

int vio_ccw_do(struct vio_ccw_job *j);

/* -- ccw_ind.c ----------------------------------------------------------- */

extern const struct vio_transport_ops vio_ccw_transport_ops;
void vio_ccw_no_indicators(struct vio_ccw *c);
int vio_ccw_set_ind(struct vio_ccw_job *j, bool config);
int vio_ccw_set_ind_adapter(struct vio_ccw_job *j);

#endif
