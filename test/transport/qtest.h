/* SPDX-License-Identifier: MIT */
/*
 * qtest.h - a QEMU whose processor sleeps, driven from outside: its guest's
 * memory is mapped here, its registers are reached through its test socket.
 * So our drivers run natively against QEMU's own devices.
 */
#ifndef TEST_TRANSPORT_QTEST_H
#define TEST_TRANSPORT_QTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct qtest {
	pid_t pid;
	int fd;
	char dir[64];
	const char *machine;
	unsigned char *ram;	/* guest address 0 */
	size_t ram_len;
};

/*
 * Start qemu-system-x86_64 with @args, NULL-terminated, added to what the
 * harness needs. Returns 0; 77 if there is no QEMU; else 1, and says why.
 */
int qtest_start(struct qtest *q, size_t ram_len, const char *const *args);
/* The same on a machine other than microvm: "q35". */
int qtest_start_on(struct qtest *q, const char *machine, size_t ram_len,
		   const char *const *args);
/* End it, and remove all traces. */
void qtest_stop(struct qtest *q);

/* One register access of 1, 2 or 4 bytes. False once QEMU is gone. */
bool qtest_read(struct qtest *q, uint64_t addr, unsigned len, uint32_t *v);
bool qtest_write(struct qtest *q, uint64_t addr, unsigned len, uint32_t v);

/* The same of a port. */
bool qtest_in(struct qtest *q, uint64_t port, unsigned len, uint32_t *v);
bool qtest_out(struct qtest *q, uint64_t port, unsigned len, uint32_t v);

#endif
