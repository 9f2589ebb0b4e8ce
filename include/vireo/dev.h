/* SPDX-License-Identifier: MIT */
/*
 * vireo/dev.h - the device core: features, status, configuration space and
 * queues of any device, behind any transport.
 *
 * A transport decodes what the driver does into the verbs below. A device
 * type is a table of operations. Neither knows the other.
 *
 * Thread: the verbs of a device come from one control thread; each queue
 * belongs to the thread that services it (see queue.h). A transport that runs
 * queues elsewhere stops them there before it resets the device.
 */
#ifndef VIREO_DEV_H
#define VIREO_DEV_H

#include <vireo/queue.h>
#include <vireo/spec/virtio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Why vio_queue_service() came back. */
enum vio_service {
	VIO_SERVICE_IDLE,	/* empty; the driver will kick */
	VIO_SERVICE_MORE,	/* the budget is used up; call again */
	VIO_SERVICE_WAIT,	/* the device waits for its back end, and will
				 * ask for service by transport->queue_ready;
				 * or for a translation of an IOMMU */
};

/* A device type: constants and methods. Absent methods do nothing. */
struct vio_dev;
struct vio_state_out;
struct vio_state_record;

struct vio_dev_ops {
	const char *name;	/* "blk" */
	uint32_t id;		/* VIRTIO_ID_* */

	/*
	 * Are these features, each offered, a legal set? Return VIO_OK or
	 * VIO_E_PEER. (core.device.feature-bits: FEATURES_OK is refused)
	 */
	int (*check_features)(struct vio_dev *dev,
			      const struct vio_features *f);

	/* The driver set FEATURES_OK and we agreed: configuration may change
	 * with the features. */
	void (*features_ok)(struct vio_dev *dev);

	/*
	 * Work on a queue: pop at most @budget requests. Queue's thread,
	 * queue held. IDLE means vio_queue_pop() gave NULL.
	 */
	enum vio_service (*service)(struct vio_dev *dev, struct vio_queue *q,
				    unsigned budget);

	/*
	 * The driver wants a notification for @q. True: it is withheld until
	 * the type calls vio_queue_notify_withheld(), which asks here again.
	 * Queue's thread.
	 */
	bool (*moderate)(struct vio_dev *dev, struct vio_queue *q);

	/* Ring is about to stop: give up what can be given up (unpop, done),
	 * start nothing new. Queue's thread. */
	void (*queue_stop)(struct vio_dev *dev, struct vio_queue *q);

	/* Back to the state before initialisation; the queues are stopped. */
	void (*reset)(struct vio_dev *dev);

	/*
	 * The widths of the fields of the configuration, in its order, as
	 * digits ("8442"); bytes beyond them have width 1. NULL: all. Needed
	 * for legacy guests of the other byte order alone.
	 */
	const char *config_fields;

	/* The driver wrote configuration bytes; the range is inside, the
	 * bytes are little-endian whatever the guest is. Return
	 * VIO_OK or VIO_E_PEER (ignored, logged). */
	int (*config_write)(struct vio_dev *dev, uint32_t off,
			    const void *src, uint32_t len);

	/*
	 * What the device has beside rings, features and configuration, as
	 * records (state.h); its queues are stopped. And one of them back,
	 * after FEATURES_OK and before the first queue starts: VIO_OK,
	 * VIO_E_PEER if it makes no sense, VIO_E_UNSUPP if it is not known.
	 * NULL: there is nothing.
	 */
	void (*save)(struct vio_dev *dev, struct vio_state_out *out);
	int (*load)(struct vio_dev *dev, const struct vio_state_record *r);
};

/* The same of what lies behind the device: its tags are VIO_STATE_OUTER and
 * more. */
struct vio_dev_outer {
	void (*save)(void *ctx, struct vio_state_out *out);
	int (*load)(void *ctx, const struct vio_state_record *r);
};

/* What a device asks of the transport that carries it. */
struct vio_transport_ops {
	/* Used buffer notification. Queue's thread. */
	void (*queue_notify)(void *ctx, struct vio_queue *q);
	/* Please service the queue soon. Any thread. */
	void (*queue_ready)(void *ctx, struct vio_queue *q);
	/* Configuration change notification. Control thread, or the queue's
	 * when it breaks (status: DEVICE_NEEDS_RESET). */
	void (*config_changed)(void *ctx);
};

struct vio_dev {
	const struct vio_dev_ops *ops;
	const struct vio_transport_ops *transport;
	void *transport_ctx;
	struct vio_log log;

	struct vio_features offered;
	struct vio_features driver;	/* what the driver accepted */
	uint32_t status;		/* VIRTIO_STATUS_*; atomic */
	uint32_t generation;		/* of the configuration space */

	unsigned char *config;		/* wire layout, little-endian */
	uint32_t config_len;

	struct vio_queue *queue;
	uint16_t nr_queues;

	const struct vio_dev_outer *outer;	/* owner's, set after init */
	void *outer_ctx;

	const struct vio_shm *shm;	/* the owner's, set after init */
	uint16_t nr_shm;

	bool resetting;			/* waits for requests in flight */
	bool suspending;		/* the same, to be suspended */
	bool changed_meanwhile;		/* configuration, while suspended */
	bool transitional;		/* vio_dev_transitional() */
	bool guest_big;			/* vio_dev_set_guest_endian() */
};

/* -- life cycle ---------------------------------------------------------- */

/*
 * vio_dev_init() - called by a device type's own init. @queue are @nr_queues
 * initialised queues; @config is @config_len bytes that the type fills.
 * Ring features that every device has are added to @offered here: VERSION_1,
 * INDIRECT_DESC, EVENT_IDX. A type that can use buffers in order without
 * harm, or whose owner asks for it, adds IN_ORDER.
 */
void vio_dev_init(struct vio_dev *dev, const struct vio_dev_ops *ops,
		  const struct vio_features *offered,
		  struct vio_queue *queue, uint16_t nr_queues,
		  void *config, uint32_t config_len);

/* Give the device its transport (upcalls) and log. */
void vio_dev_attach(struct vio_dev *dev, const struct vio_transport_ops *ops,
		    void *ctx, const struct vio_log *log);

/*
 * The transport has an IOMMU before its memory: offer ACCESS_PLATFORM. Before
 * the driver reads the features. Where it accepts, queues are to be started
 * on a map of I/O addresses (vio_mem_init_iommu()), else on the physical one.
 */
static inline void vio_dev_behind_iommu(struct vio_dev *dev)
{
	vio_feature_set(&dev->offered, VIRTIO_F_ACCESS_PLATFORM);
}

/*
 * The transport's status register has SUSPEND: offer that feature. Before the
 * driver reads the features. A suspended device has no running queue and goes
 * on where it was; like a reset it needs all queues on the control thread.
 */
static inline void vio_dev_suspendable(struct vio_dev *dev)
{
	vio_feature_set(&dev->offered, VIRTIO_F_SUSPEND);
}

/* -- the legacy interface ------------------------------------------------ */

/*
 * A transport that has the legacy interface:
 * - calls vio_dev_transitional() once, which offers what the standard asks of
 *   such a device: ANY_LAYOUT, which is how all devices here are anyway, and
 *   NOTIFY_ON_EMPTY. A driver that does not accept VERSION_1 is a legacy one.
 * - finds the areas of a ring by vio_legacy_layout() (ring.h).
 * - says which byte order the guest has, where that is not this machine's, by
 *   vio_dev_set_guest_endian() before queues start. Rings, configuration and
 *   headers are in it then, as long as VERSION_1 is not accepted.
 */
static inline void vio_dev_transitional(struct vio_dev *dev)
{
	dev->transitional = true;
	vio_feature_set(&dev->offered, VIRTIO_F_ANY_LAYOUT);
	vio_feature_set(&dev->offered, VIRTIO_F_NOTIFY_ON_EMPTY);
}

/* The guest's byte order; all queues learn of it at their next start. */
void vio_dev_set_guest_endian(struct vio_dev *dev, bool big);

static inline bool vio_dev_legacy(const struct vio_dev *dev)
{
	return !vio_has(&dev->driver, VIRTIO_F_VERSION_1);
}

/*
 * Numbers in structures that the standard spells in little-endian and a
 * legacy driver in its own order: all that a device reads of requests or
 * writes into them goes through these.
 */
static inline bool vio_dev_big_endian(const struct vio_dev *dev)
{
	return dev->guest_big && vio_dev_legacy(dev);
}

static inline uint16_t vio_dev_from16(const struct vio_dev *dev, vio_le16 v)
{
	uint16_t x = vio_from_le16(v);

	return vio_unlikely(vio_dev_big_endian(dev)) ? __builtin_bswap16(x) : x;
}

static inline uint32_t vio_dev_from32(const struct vio_dev *dev, vio_le32 v)
{
	uint32_t x = vio_from_le32(v);

	return vio_unlikely(vio_dev_big_endian(dev)) ? __builtin_bswap32(x) : x;
}

static inline uint64_t vio_dev_from64(const struct vio_dev *dev, vio_le64 v)
{
	uint64_t x = vio_from_le64(v);

	return vio_unlikely(vio_dev_big_endian(dev)) ? __builtin_bswap64(x) : x;
}

static inline vio_le16 vio_dev_to16(const struct vio_dev *dev, uint16_t v)
{
	return vio_to_le16(vio_dev_big_endian(dev) ? __builtin_bswap16(v) : v);
}

static inline vio_le32 vio_dev_to32(const struct vio_dev *dev, uint32_t v)
{
	return vio_to_le32(vio_dev_big_endian(dev) ? __builtin_bswap32(v) : v);
}

static inline vio_le64 vio_dev_to64(const struct vio_dev *dev, uint64_t v)
{
	return vio_to_le64(vio_dev_big_endian(dev) ? __builtin_bswap64(v) : v);
}

/* -- verbs --------------------------------------------------------------- */

/*
 * vio_dev_reset() - stop all queues and go back to the beginning. Returns
 * VIO_OK, or VIO_E_AGAIN while requests are in flight: the status reads
 * non-zero until the last of them is done. Needs all queues on this thread.
 */
int vio_dev_reset(struct vio_dev *dev);

uint32_t vio_dev_status(const struct vio_dev *dev);

/*
 * vio_dev_set_status() - the driver writes the status. 0 resets. FEATURES_OK
 * stays clear if the features are refused: read the status back. No queue is
 * served before DRIVER_OK, which asks for service of all of them; where a
 * transport's driver cannot say it, the transport does.
 */
void vio_dev_set_status(struct vio_dev *dev, uint32_t status);

static inline const struct vio_features *
vio_dev_offered(const struct vio_dev *dev)
{
	return &dev->offered;
}

/*
 * vio_dev_set_features() - the driver writes its features. Returns VIO_OK,
 * VIO_E_PEER if a bit was not offered, VIO_E_STATE after FEATURES_OK, and
 * after DRIVER_OK. Of a set that is refused at FEATURES_OK, nothing is left.
 */
int vio_dev_set_features(struct vio_dev *dev, const struct vio_features *f);

/* Was the feature accepted? */
static inline bool vio_dev_has(const struct vio_dev *dev, unsigned bit)
{
	return vio_has(&dev->driver, bit);
}

/* Read configuration; bytes past the end read as zero. */
void vio_dev_config_read(const struct vio_dev *dev, uint32_t off,
			 void *dst, uint32_t len);

/* Write configuration. VIO_E_PEER if it is out of range or refused. */
int vio_dev_config_write(struct vio_dev *dev, uint32_t off,
			 const void *src, uint32_t len);

/*
 * The same for a transport's modern registers, which are little-endian
 * whether or not the driver has said yet that it is no legacy one.
 */
void vio_dev_config_read_le(const struct vio_dev *dev, uint32_t off,
			    void *dst, uint32_t len);
int vio_dev_config_write_le(struct vio_dev *dev, uint32_t off,
			    const void *src, uint32_t len);

/*
 * vio_queue_service() - let the device work on a queue, after a kick, after
 * queue_ready, or whenever one likes. @budget bounds the requests taken.
 * Kicks are off while it works, and on again, without a lost wake-up, when it
 * returns VIO_SERVICE_IDLE. Queue's thread.
 */
enum vio_service vio_queue_service(struct vio_queue *q, unsigned budget);

/*
 * vio_queue_poll() - as vio_queue_service(), for a thread that polls: kicks
 * are off when it returns. Before such a thread sleeps, it calls
 * vio_queue_service() until that does not return VIO_SERVICE_MORE.
 */
enum vio_service vio_queue_poll(struct vio_queue *q, unsigned budget);

/*
 * vio_dev_notified() - the queue that a notification means, where its value
 * has the form of NOTIFICATION_DATA (standard: 2.9). @next: how far the driver
 * says it is, in the form of the ring's event words; left alone where its ring
 * has no such place. Only a hint: what counts stands in the ring. NULL where
 * there is no such queue.
 */
struct vio_queue *vio_dev_notified(struct vio_dev *dev, uint32_t value,
				   uint16_t *next);

/*
 * vio_dev_save() - the device's state (state.h), while no queue runs. Returns
 * how many bytes it takes; more than @room: they are not all there.
 * vio_dev_load() - the opposite, on a device with the same features whose
 * queues have not started. VIO_OK, or VIO_E_PEER: reset it.
 */
uint32_t vio_dev_save(struct vio_dev *dev, void *p, uint32_t room);
int vio_dev_load(struct vio_dev *dev, const void *p, uint32_t len);

/* The shared memory region @id, or NULL. */
const struct vio_shm *vio_dev_shm(const struct vio_dev *dev, uint32_t id);

/* -- for device types ---------------------------------------------------- */

/* The configuration was changed: new generation, tell the driver. */
void vio_dev_config_changed(struct vio_dev *dev);

/* The device cannot go on: DEVICE_NEEDS_RESET, tell the driver. Any thread. */
void vio_dev_needs_reset(struct vio_dev *dev);

/* Please service the queue soon. Any thread. */
void vio_dev_queue_ready(struct vio_dev *dev, struct vio_queue *q);

/* Log a sentence with numbers; @nr pairs of (const char *, uint64_t). */
void vio_dev_log(const struct vio_dev *dev, enum vio_log_level level,
		 const char *text, const struct vio_named *v, unsigned nr);

#ifdef __cplusplus
}
#endif
#endif
