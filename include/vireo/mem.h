/* SPDX-License-Identifier: MIT */
/*
 * vireo/mem.h - guest memory: regions, and the only translation from a guest
 * address to a pointer. Every translation takes a length.
 *
 * A map is immutable once it is in use. To change memory, build a new map and
 * hand it to the queues (vio_queue_set_mem); the old one stays valid until
 * the last request popped under it is done, which its pin count tells.
 */
#ifndef VIREO_MEM_H
#define VIREO_MEM_H

#include <vireo/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A guest-physical (or, behind an IOMMU, I/O virtual) address. */
typedef struct { uint64_t v; } vio_addr;

static inline vio_addr vio_addr_of(uint64_t v)
{
	vio_addr a = { v };

	return a;
}

enum vio_perm {
	VIO_PERM_READ	= 1,	/* the device may read */
	VIO_PERM_WRITE	= 2,	/* the device may write */
	VIO_PERM_RW	= 3,
};

/*
 * A shared memory region of a device (standard: 2.10). @base: where the
 * transport shows it: a guest address (MMIO), an offset in its BAR (PCI).
 */
struct vio_shm {
	uint8_t id;
	uint64_t base;
	uint64_t len;		/* bytes; base + len is at most 2^64 */
};

struct vio_region {
	vio_addr addr;		/* first guest address */
	uint64_t size;		/* bytes; addr + size may be 2^64 */
	unsigned char *host;	/* where it is mapped here */
	uint64_t user_addr;	/* where the front end has it (vhost-user) */
	unsigned perm;		/* enum vio_perm */
};

/*
 * What an IOMMU does for a device (ACCESS_PLATFORM): where, in guest-physical
 * memory, lies I/O address @io? @perm: what the device is about to do; @got:
 * out, how many of @len bytes lie together there. Any queue's thread; must
 * not block.
 */
enum vio_translated {
	VIO_TRANSLATED_NOT,	/* nothing there, or not for this: the device's
				 * queue breaks */
	VIO_TRANSLATED,
	VIO_TRANSLATED_LATER,	/* not known yet: the queue waits, and whoever
				 * translates asks for its service when it is */
};

typedef enum vio_translated
vio_translate_fn(void *ctx, vio_addr io, uint64_t len, unsigned perm,
		 vio_addr *phys, uint64_t *got);

/* What stands in a hint (vio_mem_span()) after VIO_TRANSLATED_LATER. */
#define VIO_MEM_LATER	UINT32_MAX

typedef void vio_dirty_fn(void *ctx, vio_addr addr, uint64_t len);

struct vio_mem {
	const struct vio_region *region;	/* sorted, not overlapping */
	unsigned nr;

	/* Behind an IOMMU: no regions of its own, but these. */
	const struct vio_mem *phys;
	vio_translate_fn *translate;
	void *translate_ctx;

	/*
	 * Called after the device has written @len bytes at @addr. NULL:
	 * nothing is logged. Any queue's thread; must not block. In a map
	 * that is in use, it changes by vio_mem_set_dirty() only.
	 */
	vio_dirty_fn *dirty;
	void *dirty_ctx;

	unsigned pins;		/* queues that may still touch it; atomic */
	/* Called by whoever drops the last pin, from that thread. NULL: no. */
	void (*unpinned)(struct vio_mem *mem);
};

/*
 * vio_mem_init() - make a map of @nr regions (not copied; must outlive it).
 * Returns VIO_OK, or VIO_E_INVAL if the regions are unsorted, empty, overlap
 * or run past 2^64.
 */
int vio_mem_init(struct vio_mem *mem, const struct vio_region *region,
		 unsigned nr);

/*
 * vio_mem_init_iommu() - make a map whose addresses are I/O addresses, which
 * @translate finds in @phys. @phys must outlive it, and its dirty log, which
 * learns physical addresses, is this map's too. What a request was popped
 * with stays in use until it is done: before a translation is taken away for
 * good, hand the queues another map and wait for the last pin on this one.
 */
void vio_mem_init_iommu(struct vio_mem *mem, const struct vio_mem *phys,
			vio_translate_fn *translate, void *ctx);

void vio_mem_pin(struct vio_mem *mem);
void vio_mem_unpin(struct vio_mem *mem);

/*
 * vio_mem_span() - the host bytes behind a guest address.
 * @hint: in and out, index of the region that was hit last; 0 to start
 * @len: how many bytes are wanted, more than 0
 * @got: out, how many of them lie together, 1 to @len
 *
 * Returns NULL where the address is not in a region that permits @perm. Behind
 * an IOMMU @hint is VIO_MEM_LATER where it may be one later, else 0.
 */
void *vio_mem_span(const struct vio_mem *mem, unsigned *hint, vio_addr addr,
		   uint64_t len, unsigned perm, uint64_t *got);

/* As vio_mem_span(), but all of @len in one piece or NULL. */
void *vio_mem_at(const struct vio_mem *mem, unsigned *hint, vio_addr addr,
		 uint64_t len, unsigned perm);

/*
 * vio_mem_addr_of() - the guest-physical address of a host pointer that a
 * translation of the same map gave. False if it is not in the map. Slow.
 */
bool vio_mem_addr_of(const struct vio_mem *mem, const void *host,
		     vio_addr *addr);

/* vio_mem_from_user() - the guest address of a front end's user address. */
bool vio_mem_from_user(const struct vio_mem *mem, uint64_t user_addr,
		       uint64_t len, vio_addr *addr);

/*
 * vio_mem_set_dirty() - start or end logging (NULL), in a map that may be in
 * use; dirty_ctx stays as it is. Any thread. A queue's thread that is in the
 * middle of a write may still do as before; it has come to know when it next
 * comes back from the library.
 */
static inline void vio_mem_set_dirty(struct vio_mem *mem, vio_dirty_fn *fn)
{
	__atomic_store_n(&mem->dirty, fn, __ATOMIC_RELEASE);
}

/* Is there a log? One load, for the hot path. */
static inline bool vio_mem_is_logged(const struct vio_mem *mem)
{
	return __atomic_load_n(&mem->dirty, __ATOMIC_RELAXED) != NULL;
}

/* Tell the dirty log, if there is one, of a write at a guest address. */
void vio_mem_wrote_at(const struct vio_mem *mem, vio_addr addr, uint64_t len);

/* The same of a write through a host pointer. */
void vio_mem_wrote(const struct vio_mem *mem, const void *host, uint64_t len);

#ifdef __cplusplus
}
#endif
#endif
