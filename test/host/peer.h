/* SPDX-License-Identifier: MIT */
/*
 * Daemons as they are used: started as programs, driven by the drivers of
 * this library over their sockets.
 */
#ifndef TEST_HOST_PEER_H
#define TEST_HOST_PEER_H

#include <stdbool.h>
#include <sys/types.h>
#include <vireo/driver_blk.h>
#include <vireo/vhu_client.h>

/* Leak checks need what the sandbox takes away: they run without it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PEER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PEER_SANITIZED 1
#endif
#endif
#ifndef PEER_SANITIZED
#define PEER_SANITIZED 0
#endif

/* A daemon and the folder it works in. */
struct peer {
	pid_t pid;
	char dir[64];
	char socket[96], image[96], stats[96], log[96];
};

/* A folder with the names above; nothing runs yet. */
void peer_init(struct peer *p);
/* Ends what runs, removes all. */
void peer_fini(struct peer *p);

/*
 * Start @program of the build with "--socket-path" and @args, which ends with
 * NULL; @fd, unless -1, is what "--fd=3" of @args means. -2: @args say which
 * sockets there are. Waits for the socket where there is one.
 */
void peer_start(struct peer *p, const char *program, const char *const *args,
		int fd);
#define PEER_START(p, program, ...) \
	peer_start(p, program, (const char *[]){ __VA_ARGS__, NULL }, -1)

/* Nanoseconds on processors, of all its threads. */
uint64_t peer_used_ns(const struct peer *p);
/* Send a signal, give the exit status as a shell does (128 + signal). */
int peer_end(struct peer *p, int sig);
/* Wait for it to end by itself: as above, or -1 after a minute. */
int peer_wait(struct peer *p);
/* Is @text in what it said on standard error? */
bool peer_said(struct peer *p, const char *text);
/* Does it say so within a minute? */
bool peer_says(struct peer *p, const char *text);

/* Memory shared with a back end, and the connection. */
struct front {
	struct vhu_client *client;
	int mem_fd;
	unsigned char *mem;
	size_t len, used;
	struct vio_drv_mem drv_mem;
	void *priv;
};

enum { FRONT_MEM = 4 << 20, FRONT_RINGS = 1 << 20 };

/* Connect to @path, or use the connected @fd. False: no such peer. */
bool front_open(struct front *f, const char *path, int fd);
/* The same with what else @conf says; memory and socket are ours. */
bool front_open_with(struct front *f, const char *path,
		     const struct vhu_client_conf *conf);
/* The same, of a network: its back end counts pairs of queues. */
bool front_open_as(struct front *f, const char *path, int fd, bool net);
void front_close(struct front *f);
/* @len bytes of the shared memory for data. */
void *front_data(struct front *f, size_t len);

/* A disk behind a front end. */
struct front_disk {
	struct front front;
	struct vio_blkdrv blk;
};

void disk_open(struct front_disk *d, const char *path, unsigned queues);
void disk_close(struct front_disk *d);
/* One request on a queue, to its end; VIO_OK, VIO_E_IO, VIO_E_UNSUPP. */
int disk_run(struct front_disk *d, unsigned queue, uint32_t type,
	     uint64_t sector, void *data, size_t len);

#endif
