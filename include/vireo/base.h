/* SPDX-License-Identifier: MIT */
/*
 * vireo/base.h - what every other header of the core builds on: errors,
 * endian types, feature sets, and the hook through which the core talks.
 *
 * Freestanding: needs a C11 compiler (or C++11 for users) and nothing else.
 */
#ifndef VIREO_BASE_H
#define VIREO_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VIO_STATIC_ASSERT(cond, text) static_assert(cond, text)
extern "C" {
#else
#define VIO_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/*
 * For bodies that are written once and compiled for several cases, and for
 * what is not to grow them. A build for size has one case.
 */
#ifdef VIO_SMALL
#define VIO_INLINE	static inline
#else
#define VIO_INLINE	static inline __attribute__((always_inline))
#endif
#define VIO_APART	static __attribute__((noinline))

#define vio_likely(x)	__builtin_expect(!!(x), 1)
#define vio_unlikely(x)	__builtin_expect(!!(x), 0)

#define vio_container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/*
 * Have a line brought near that will be read soon. Any address will do. A
 * build for size does not ask.
 */
static inline void vio_prefetch(const void *p)
{
#ifdef VIO_SMALL
	(void)p;
#else
	__builtin_prefetch(p);
#endif
}

/*
 * The same for a line that will be written: as its only owner, so that the
 * store need not ask the other processor again. The compiler's own prefetch
 * for writing is one for reading unless it is told of the instruction, which
 * every 64-bit x86 has, or takes for nothing.
 */
static inline void vio_prefetch_write(void *p)
{
#if defined(VIO_SMALL)
	(void)p;
#elif defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

#define VIO_ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))

/*
 * Errors. Functions return one of these, or a count that is not negative.
 * VIO_E_PEER always means that the other side broke the standard's rules;
 * it is data about the peer, never about the caller.
 */
enum vio_error {
	VIO_OK		= 0,
	VIO_E_INVAL	= -1,	/* the caller's arguments make no sense */
	VIO_E_RANGE	= -2,	/* an address or length lies outside memory */
	VIO_E_PEER	= -3,	/* the peer broke a rule; its queue is broken */
	VIO_E_STATE	= -4,	/* not now: wrong order of calls */
	VIO_E_NOSPC	= -5,	/* the storage handed over is too small */
	VIO_E_IO	= -6,	/* a back end failed */
	VIO_E_UNSUPP	= -7,	/* a back end cannot do this at all */
	VIO_E_AGAIN	= -8,	/* not yet; will be signalled */
};

/*
 * Little-endian wire types: structs, so that mixing them up with numbers does
 * not compile. Same size and alignment as the number they hold.
 */
typedef struct { uint16_t raw; } vio_le16;
typedef struct { uint32_t raw; } vio_le32;
typedef struct { uint64_t raw; } vio_le64;

VIO_STATIC_ASSERT(sizeof(vio_le16) == 2, "vio_le16 is two bytes");
VIO_STATIC_ASSERT(sizeof(vio_le32) == 4, "vio_le32 is four bytes");
VIO_STATIC_ASSERT(sizeof(vio_le64) == 8, "vio_le64 is eight bytes");

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define VIO_MACHINE_BIG	1
#define VIO_SWAP16(v)	__builtin_bswap16(v)
#define VIO_SWAP32(v)	__builtin_bswap32(v)
#define VIO_SWAP64(v)	__builtin_bswap64(v)
#else
#define VIO_MACHINE_BIG	0
#define VIO_SWAP16(v)	(v)
#define VIO_SWAP32(v)	(v)
#define VIO_SWAP64(v)	(v)
#endif

static inline uint16_t vio_from_le16(vio_le16 v)
{
	return VIO_SWAP16(v.raw);
}

static inline uint32_t vio_from_le32(vio_le32 v)
{
	return VIO_SWAP32(v.raw);
}

static inline uint64_t vio_from_le64(vio_le64 v)
{
	return VIO_SWAP64(v.raw);
}

static inline vio_le16 vio_to_le16(uint16_t v)
{
	vio_le16 r = { VIO_SWAP16(v) };

	return r;
}

static inline vio_le32 vio_to_le32(uint32_t v)
{
	vio_le32 r = { VIO_SWAP32(v) };

	return r;
}

static inline vio_le64 vio_to_le64(uint64_t v)
{
	vio_le64 r = { VIO_SWAP64(v) };

	return r;
}

/* A set of 128 feature bits (the standard uses bits 0 to 127). */
struct vio_features {
	uint64_t w[2];
};

#define VIO_FEATURE_BITS	128

static inline bool vio_has(const struct vio_features *f, unsigned bit)
{
	return bit < VIO_FEATURE_BITS && (f->w[bit / 64] >> (bit % 64) & 1);
}

static inline void vio_feature_set(struct vio_features *f, unsigned bit)
{
	f->w[bit / 64 & 1] |= (uint64_t)1 << (bit % 64);
}

static inline void vio_feature_clear(struct vio_features *f, unsigned bit)
{
	f->w[bit / 64 & 1] &= ~((uint64_t)1 << (bit % 64));
}

/* Does @sub contain no bit that @super lacks? */
static inline bool vio_features_within(const struct vio_features *sub,
				       const struct vio_features *super)
{
	return !(sub->w[0] & ~super->w[0]) && !(sub->w[1] & ~super->w[1]);
}

/*
 * The log hook. The core has no printf: it hands over a sentence and the
 * numbers that belong to it, and the host formats (and rate-limits) them.
 */
enum vio_log_level {
	VIO_LOG_ERROR,
	VIO_LOG_WARN,
	VIO_LOG_INFO,
	VIO_LOG_DEBUG,
};

struct vio_named {
	const char *name;
	uint64_t value;
};

struct vio_log {
	/* @text and @v live only during the call. Called from any thread. */
	void (*fn)(void *ctx, enum vio_log_level level, const char *text,
		   const struct vio_named *v, unsigned nr);
	void *ctx;
};

#ifdef __cplusplus
}
#endif
#endif
