/* SPDX-License-Identifier: MIT */
/* The commands that live in the front itself; each returns an exit code. */
#ifndef VIREO_CMD_H
#define VIREO_CMD_H

int cmd_run(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_ctl(int argc, char **argv);

#endif
