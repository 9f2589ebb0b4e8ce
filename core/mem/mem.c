/* SPDX-License-Identifier: MIT */
/*
 * mem.c - guest addresses become pointers here, and nowhere else. Ranges are
 * checked by subtraction; sums could wrap. It knows no ring and no device.
 */
#include <vireo/mem.h>

int vio_mem_init(struct vio_mem *mem, const struct vio_region *region,
		 unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		const struct vio_region *r = &region[i];

		if (!r->size || !r->host ||
		    r->size - 1 > UINT64_MAX - r->addr.v)
			return VIO_E_INVAL;
		if (!i)
			continue;
		if (r->addr.v <= r[-1].addr.v ||
		    r->addr.v - r[-1].addr.v < r[-1].size)
			return VIO_E_INVAL;
	}
	*mem = (struct vio_mem){ .region = region, .nr = nr };
	return VIO_OK;
}

void vio_mem_init_iommu(struct vio_mem *mem, const struct vio_mem *phys,
			vio_translate_fn *translate, void *ctx)
{
	*mem = (struct vio_mem){
		.phys = phys, .translate = translate, .translate_ctx = ctx,
		.dirty = phys->dirty, .dirty_ctx = phys->dirty_ctx,
	};
}

void vio_mem_pin(struct vio_mem *mem)
{
	__atomic_fetch_add(&mem->pins, 1, __ATOMIC_RELAXED);
}

void vio_mem_unpin(struct vio_mem *mem)
{
	/* The last one out must see all that others did to the memory. */
	if (__atomic_sub_fetch(&mem->pins, 1, __ATOMIC_ACQ_REL) == 0 &&
	    mem->unpinned)
		mem->unpinned(mem);
}

static bool region_has(const struct vio_region *r, uint64_t addr)
{
	return addr >= r->addr.v && addr - r->addr.v < r->size;
}

/* Index of the region that holds @addr, or nr. Regions are sorted. */
static unsigned find(const struct vio_mem *mem, uint64_t addr)
{
	unsigned lo = 0, hi = mem->nr;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (region_has(&mem->region[mid], addr))
			return mid;
		if (addr < mem->region[mid].addr.v)
			hi = mid;
		else
			lo = mid + 1;
	}
	return mem->nr;
}

/* What the IOMMU says is checked like any address that comes from a guest. */
static void *span_iommu(const struct vio_mem *mem, unsigned *later,
			vio_addr io, uint64_t len, unsigned perm, uint64_t *got)
{
	enum vio_translated t = VIO_TRANSLATED_NOT;
	unsigned hint = 0;
	uint64_t there = 0;
	vio_addr phys;

	if (len)
		t = mem->translate(mem->translate_ctx, io, len, perm, &phys,
				   &there);
	if (t != VIO_TRANSLATED || !there) {
		*later = t == VIO_TRANSLATED_LATER ? VIO_MEM_LATER : 0;
		return NULL;
	}
	return vio_mem_span(mem->phys, &hint, phys, there < len ? there : len,
			    perm, got);
}

void *vio_mem_span(const struct vio_mem *mem, unsigned *hint, vio_addr addr,
		   uint64_t len, unsigned perm, uint64_t *got)
{
	const struct vio_region *r;
	unsigned i = *hint;
	uint64_t off, room;

	if (vio_unlikely(i >= mem->nr ||
			 !region_has(&mem->region[i], addr.v))) {
		if (mem->translate)	/* then there are no regions here */
			return span_iommu(mem, hint, addr, len, perm,
					  got);
		i = find(mem, addr.v);
		if (i == mem->nr)
			return NULL;
		*hint = i;
	}
	r = &mem->region[i];
	if (vio_unlikely((r->perm & perm) != perm || !len))
		return NULL;
	off = addr.v - r->addr.v;
	room = r->size - off;
	*got = len < room ? len : room;
	return r->host + off;
}

void *vio_mem_at(const struct vio_mem *mem, unsigned *hint, vio_addr addr,
		 uint64_t len, unsigned perm)
{
	uint64_t got, more;
	unsigned char *p = vio_mem_span(mem, hint, addr, len, perm, &got);

	if (!p || got == len)
		return p;
	if (!mem->translate)
		return NULL;
	/* An IOMMU gives page by page what may lie together all the same. */
	for (; got < len; got += more) {	/* a byte each, at least */
		if (got > UINT64_MAX - addr.v ||
		    vio_mem_span(mem, hint, vio_addr_of(addr.v + got),
				 len - got, perm, &more) != p + got)
			return NULL;
	}
	return p;
}

bool vio_mem_addr_of(const struct vio_mem *mem, const void *host,
		     vio_addr *addr)
{
	if (mem->phys)
		mem = mem->phys;
	for (unsigned i = 0; i < mem->nr; i++) {
		const struct vio_region *r = &mem->region[i];
		uintptr_t p = (uintptr_t)host, base = (uintptr_t)r->host;

		if (p >= base && p - base < r->size) {
			addr->v = r->addr.v + (p - base);
			return true;
		}
	}
	return false;
}

bool vio_mem_from_user(const struct vio_mem *mem, uint64_t user_addr,
		       uint64_t len, vio_addr *addr)
{
	for (unsigned i = 0; i < mem->nr; i++) {
		const struct vio_region *r = &mem->region[i];
		uint64_t off = user_addr - r->user_addr;

		if (user_addr >= r->user_addr && off < r->size &&
		    len <= r->size - off) {
			addr->v = r->addr.v + off;
			return true;
		}
	}
	return false;
}

void vio_mem_wrote_at(const struct vio_mem *mem, vio_addr addr, uint64_t len)
{
	/* Once: it may be ended meanwhile. */
	vio_dirty_fn *dirty = __atomic_load_n(&mem->dirty, __ATOMIC_ACQUIRE);

	if (dirty && len)
		dirty(mem->dirty_ctx, addr, len);
}

void vio_mem_wrote(const struct vio_mem *mem, const void *host, uint64_t len)
{
	vio_addr addr;

	if (vio_likely(!vio_mem_is_logged(mem)))
		return;
	if (vio_mem_addr_of(mem, host, &addr))
		vio_mem_wrote_at(mem, addr, len);
}
