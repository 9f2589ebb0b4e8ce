/* SPDX-License-Identifier: MIT */
/*
 * A device and its driver in one process, over a bus in memory: one that calls
 * the device's verbs, or a transport's two sides back to back.
 * Memory is one file that both sides map, each at its own address, and the
 * device in three regions, so that no pointer of one is any use to the other.
 *
 * Nothing runs by itself. The device works only when it was kicked, or asked
 * for it, and the driver wakes only when it was notified; a wake-up that gets
 * lost ends the wait with VIO_E_IO, and so the test.
 */
#ifndef TEST_LOOPBACK_LOOP_H
#define TEST_LOOPBACK_LOOP_H

#include <vireo/bus_ccw.h>
#include <vireo/bus_mmio.h>
#include <vireo/bus_pci.h>
#include <vireo/ccw.h>
#include <vireo/dma.h>
#include <vireo/mmio_legacy.h>
#include <vireo/pci.h>

#include "vtest.h"

#define LOOP_QUEUES	6
#define LOOP_REGIONS	3
#define LOOP_GUEST_BASE	0x40000000u

struct loop_vhost;

struct loop {
	/* First: a pointer to a loop is one to its bus. */
	union {
		struct vio_bus_mmio mmio;
		struct vio_bus_pci pci;
		struct vio_bus_ccw ccw;
	} bus;
	union {
		struct {
			struct vio_mmio mmio;
			struct vio_mmio_queue mmio_queue[LOOP_QUEUES];
		};
		struct {
			struct vio_mmio_legacy legacy;
			struct vio_mmio_legacy_queue
				legacy_queue[LOOP_QUEUES];
		};
		struct {
			struct vio_pci pci;
			struct vio_pci_queue pci_queue[LOOP_QUEUES];
			struct vio_pci_vector pci_vector[LOOP_QUEUES + 1];
		};
		struct vio_ccw ccw;
		struct loop_vhost *vhost;
	} side;			/* the device's, of the transport */
	bool line;		/* the interrupt's, or a message came */
	uint64_t cookie;	/* ccw: what the driver got last */
	struct vio_log log;

	struct vio_window window;	/* the driver's sight */
	unsigned char *device_map;	/* the device's, region by region */
	struct vio_region region[LOOP_REGIONS];
	struct vio_mem mem;
	struct vio_drv_mem drv_mem;
	struct vio_arena data;		/* shared; what tests put buffers in */
	void *priv;
	int mem_fd;
	size_t file_size;
	/* loop_bounce(): buffers lie elsewhere, and are copied through this */
	struct vio_bounce bounce;
	struct vio_dma dma;
	unsigned char *own;

	struct vio_dev *dev;
	struct vio_queue_limits limits;
	struct vio_queue queue[LOOP_QUEUES];
	void *storage[LOOP_QUEUES];
	struct vio_queue_layout layout[LOOP_QUEUES];
	bool started[LOOP_QUEUES];
	bool kicked[LOOP_QUEUES];	/* service it */
	bool notified[LOOP_QUEUES];	/* the driver's */
	unsigned config_changes;
	bool early;			/* the test means to kick too early */
	unsigned steps_left;		/* bound on a whole test */
	unsigned budget_max;		/* requests a service, 0: 1 to 8 */
	struct vtest_rand rand;

	/* The back end moves; false if it has nothing to do. NULL: none. */
	bool (*backend_step)(void *ctx);
	void *backend_ctx;

	/* The bus's, where it needs more than the verbs; NULL: it does not. */
	enum vio_service (*service)(struct loop *l, unsigned queue,
				    unsigned max);
	bool (*bus_step)(struct loop *l);	/* like backend_step */
	void (*detach)(struct loop *l);		/* before all is freed */

	const char *last_log;		/* what the device said last */
};

/*
 * One of the files loop_*.c is linked: the bus that a test program runs over.
 * Give &loop_bus and the loop to a driver's init, after loop_attach().
 */
extern struct vio_bus_ops loop_bus;
extern const bool loop_legacy;		/* of the legacy interface */
extern const bool loop_narrow;		/* has room for 64 features alone */

/* Memory, and @nr queues that vio_*_init() of a device can have. */
void loop_init(struct loop *l, unsigned nr, uint16_t ctx_size, uint64_t seed);
/* The device's init ran: put it behind the bus. */
void loop_attach(struct loop *l, struct vio_dev *dev);
void loop_fini(struct loop *l);
/* For the files of the buses: what any of them does first. */
void loop_adopt(struct loop *l, struct vio_dev *dev);

/* How many changes of the configuration the driver was told of. */
unsigned loop_config_changes(struct loop *l);

/* One random thing happens; false when nothing is left to happen. */
bool loop_step(struct loop *l);

/*
 * Before the device's init: the driver's buffers are out of the device's
 * reach, as in a guest that distrusts its host.
 */
void loop_bounce(struct loop *l);

/* A buffer in shared memory (with loop_bounce(): in private), cleared. */
void *loop_buffer(struct loop *l, size_t len);

/*
 * Ring features from the four lowest bits of @set; the fifth asks for
 * loop_bounce(), which goes with ACCESS_PLATFORM.
 */
enum { LOOP_EVENT_IDX = 1, LOOP_INDIRECT = 2, LOOP_IN_ORDER = 4,
       LOOP_PACKED = 8, LOOP_SETS = 16, LOOP_BOUNCE = 16, LOOP_ALL = 32 };
struct vio_features loop_features(unsigned set);

#endif
