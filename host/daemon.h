/* SPDX-License-Identifier: MIT */
/*
 * The frame that all vhost-user daemons share: options, socket, sandbox,
 * threads, signals, statistics, one front end after the other. A program
 * fills in a struct daemon_type; the frame does not know what its device
 * does.
 */
#ifndef HOST_DAEMON_H
#define HOST_DAEMON_H

#include <stdatomic.h>
#include <vireo/dev.h>
#include <vireo/vhu.h>

#include "host/calls.h"
#include "host/config.h"
#include "host/control.h"
#include "host/loop.h"
#include "host/opt.h"
#include "host/sandbox.h"
#include "host/sock.h"
#include "host/stats.h"
#include "host/worker.h"
#include "vhost/sock.h"

struct daemon;
struct daemon_process;
struct heirloom;

struct daemon_feature {
	unsigned bit;
	const char *name;
};

#define DAEMON_NAMES_MAX	64
/* Names of @bits, ended by NULL: @own of the type, and those of all rings. */
void daemon_names_of(const struct daemon_feature *own, uint64_t bits,
		     const char *names[DAEMON_NAMES_MAX + 1]);

/* A descriptor by which the back end goes on in the next program. */
#define DAEMON_FILES_MAX	4u
struct daemon_file {
	char name[16];
	int fd;
};

/* What one program adds. All constant. */
struct daemon_type {
	const char *program;
	const char *summary;
	const char *device;		/* "block": in capabilities */
	const char *const *capabilities;	/* ends with NULL */
	const struct opt *opts;
	/* What the options write to, all of it: a program whose devices can
	 * be many (--config) gets it back as it stood after the command line,
	 * changed by what a device's section says, before each open. */
	void *opt_data;
	size_t opt_size;
	size_t ctx_size;	/* of daemon->ctx of each; 0: only one */
	bool threaded;		/* has --threads and --cpus */
	const struct daemon_feature *features;	/* ends with a NULL name */
	const char *const *syscalls;	/* for the sandbox, ends with NULL */
	const unsigned long *ioctls;	/* likewise, ends with 0; or NULL */
	/* What it takes to open one while the sandbox is closed (--live). */
	const char *const *live_syscalls;
	const unsigned long *live_ioctls;
	unsigned budget;		/* requests taken at a time; 16 if 0 */

	/*
	 * Check options, open everything, set daemon->dev. Errors have been
	 * logged when it returns -errno. With --config this and the other
	 * methods are called for each device, at any time.
	 */
	int (*open)(struct daemon *d);
	/* The loops run, the sandbox is closed: start what lives on them. */
	int (*start)(struct daemon *d);
	/* The opposite of start; no front end is attached. */
	void (*stop)(struct daemon *d);
	/* The opposite of open. */
	void (*close)(struct daemon *d);
	/* Has no state beside its rings and its configuration, so that a
	 * successor can go on with it (--inherit). */
	bool heritable;
	/* What was shared with a predecessor (--inherit) is ours alone now.
	 * NULL: nothing is. */
	void (*alone)(struct daemon *d);
	/* The descriptors that a successor goes on with, which asks for them
	 * by daemon_file(); how many. NULL: it opens its own. */
	unsigned (*files)(struct daemon *d,
			  struct daemon_file file[DAEMON_FILES_MAX]);
	/* As whose they are taken that came with a command that adds a device;
	 * ends with NULL. NULL: none may come. */
	const char *const *live_files;
	/* Let what is in flight on a queue complete. NULL: nothing ever is. */
	void (*drain)(struct daemon *d, unsigned queue);
	/* As in struct vhu_env_ops. NULL: of no interest. */
	void (*memory)(struct daemon *d, void *ptr, size_t len, bool huge,
		       bool add);
	void (*stats)(struct daemon *d, struct stats_values *v);
	/* Members of its own of the status. NULL: none. */
	void (*status)(struct daemon *d, struct text *out);
	/* Metrics of its own, as OpenMetrics text. NULL: none. */
	void (*metrics)(struct daemon *d, struct text *out);
	/* Of a network device: as in struct vhu_env_ops. Both or neither. */
	int (*set_mtu)(struct daemon *d, uint16_t mtu);
	int (*send_rarp)(struct daemon *d, const uint8_t mac[6]);
	/* Something may have another size: the terminal (SIGWINCH), or what
	 * the user says by SIGUSR1. NULL: no matter. */
	void (*resized)(struct daemon *d);
	/* What its control socket can be told beside what all can; ends with
	 * a NULL name. The context is the daemon. NULL: nothing more. */
	const struct control_command *commands;
};

/* A queue and the loop that it is served on. */
struct daemon_queue {
	struct daemon *daemon;
	unsigned index;
	struct worker *worker;
	struct loop_fd kick;		/* fd -1: not watched */
	struct loop_call wake;		/* posted by any thread */
	atomic_bool waking;
	struct loop_call again;		/* budget was used up */
	struct loop_poller poller;
	struct loop_timer timer;	/* no kick ever comes */
	bool watched;
	bool timed;
	bool kicks_off;			/* by us, while polling */
	bool waiting;			/* device: VIO_SERVICE_WAIT */
	unsigned looks;			/* that found nothing, one by one */
	uint64_t kicks;			/* by descriptor; relaxed atomic */
};

#define DAEMON_NOT_GIVEN	UINT32_MAX	/* fd, socket_mode */
#define DAEMON_THREADS_MAX	64u
enum { DAEMON_SANDBOX_ON, DAEMON_SANDBOX_NONE };

struct daemon_options {
	const char *socket_path;
	unsigned fd;
	bool fd_given;
	bool print_capabilities;
	unsigned socket_mode;
	const char *socket_owner, *socket_group;
	unsigned sandbox;
	bool unsafe;
	const char *stats_file;
	const char *control_path;
	const char *upgrade_path;
	const char *inherit;		/* the predecessor's upgrade path */
	bool exit_on_disconnect;
	bool connect;			/* to the socket, not listen on it */
	unsigned poll_us;
	bool iommu;
	bool postcopy;
	bool poll_always;
	bool verbose;
	const char *config;
	struct opt_list live;
	unsigned threads;
	const char *cpus;
};

/* What all devices of a program share. */
struct daemon_process {
	const struct daemon_type *type;
	struct worker main;		/* no thread of its own */
	struct calls calls;		/* looks at all devices' calls */
	struct worker *workers;
	unsigned num_workers;		/* 0: all queues on the main loop */
	unsigned next_worker;		/* where the next device's begin */
	struct loop_fd signal_fd;
	int faults_fd;			/* makes userfaultfds; -1: none */
	struct control control;
	bool control_adopted;		/* the predecessor's */
	/* See daemon_upgrade.c. */
	struct sock upgrade;
	struct vhu_sock heir;		/* successor, or predecessor */
	struct loop_fd upgrade_fd, heir_fd;
	struct heirloom *heirlooms;
	bool handed_over, inherited;	/* devices, all or some */
	struct daemon *devices;		/* in the order in which they came */
	bool many;			/* --config: they have names */
	bool sandboxed;
	bool network;			/* the sandbox leaves it open */
	bool ending;			/* told so */
	struct config config;		/* what options of devices refer to */
	int exit_code;
};

struct daemon {
	const struct daemon_type *type;
	void *ctx;			/* the program's own */
	struct daemon_options opt;
	struct daemon_process *process;
	struct daemon *next;
	const char *name;		/* with --config; else NULL */
	const struct config_item *item;	/* with --config: what it was made of */
	size_t nr_items;
	struct config own;		/* where that is, of one added live */
	bool live;			/* opened while others are served */
	bool started;			/* type->start was called */

	/* Set by type->open. */
	struct vio_dev *dev;
	unsigned num_workers;		/* that are of use to it; 0: it wants
					 * its queues on the main loop */
	unsigned queues_together;	/* that share a worker; 1 if 0 */
	unsigned queue_num;		/* as of struct vhu_conf */
	int unlink_dir_fd;		/* for the sandbox, or -1 */
	/* What this run needs beside the type's lists: see sandbox.h. */
	const char *const *more_syscalls;
	const unsigned long *more_ioctls;
	bool network;
	const char *read_file, *read_replaced;

	struct worker *main;		/* the process's */
	unsigned first_worker;
	struct daemon_queue *queues;
	struct vhu_server *server;
	struct vhu_env_ops env;		/* what this type offers it */
	struct sock sock;
	int keep[2];			/* see daemon_keep.c; -1: not kept */
	struct daemon_file file[DAEMON_FILES_MAX];	/* predecessor's */
	unsigned nr_files;
	bool files_left;		/* ours are the next program's */
	/* See daemon_upgrade.c: it is the successor's; there is a predecessor
	 * that has it; and it gave it away. */
	bool handed_over, inherits, inherited;
	struct loop_fd listen_fd, conn_fd, lost_fd;
	struct loop_call config_call;	/* posted by any thread */
	atomic_bool config_posted;
	struct loop_timer config_timer;	/* main loop */
	struct loop_timer connect_timer;	/* see daemon_connect.c */
	uint64_t connect_ns;		/* until the next attempt */
	atomic_bool stuck;		/* storage does not come back */
	atomic_bool lost;		/* guest memory disappeared */
	struct stats stats;
	uint64_t features;		/* of the last front end */
};

/* main() of a daemon. @ctx is the program's own. Returns the exit code. */
int daemon_main(const struct daemon_type *type, void *ctx, int argc,
		char **argv);

/*
 * What the program before this one had as @name, in type->open: the caller's.
 * -1: nothing.
 */
int daemon_file(struct daemon *d, const char *name);

/*
 * In type->open, before it uses a network for @what: 0, or -EOPNOTSUPP after
 * an error line where the sandbox has closed without one.
 */
int daemon_network(const struct daemon *d, const char *what);

/* The loop of a queue. From start on. */
struct loop *daemon_queue_loop(struct daemon *d, unsigned queue);
/* Run on a queue's thread and wait. From start on. */
void daemon_queue_run(struct daemon *d, unsigned queue,
		      void (*fn)(void *arg), void *arg);
/*
 * The same for each queue of the device, with one wait for each thread: many
 * disks of many queues start and end by that.
 */
void daemon_queues_run(struct daemon *d,
		       void (*fn)(void *arg, unsigned queue), void *arg);

/*
 * Make @n queues with storage for the given limits; NULL: no memory (said
 * already). Give them back with daemon_queues_free().
 */
struct vio_queue *daemon_queues_make(struct vio_dev *dev, unsigned n,
				     const struct vio_queue_limits *limits);
void daemon_queues_free(struct vio_queue *queues);

#endif
