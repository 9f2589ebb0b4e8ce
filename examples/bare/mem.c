/* SPDX-License-Identifier: MIT */
/* mem.c - the four functions that the core asks for. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *at, int value, size_t len);
int memcmp(const void *a, const void *b, size_t len);

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	volatile unsigned char *t = to;
	const unsigned char *f = from;

	while (len--)
		*t++ = *f++;
	return to;
}

void *memmove(void *to, const void *from, size_t len)
{
	volatile unsigned char *t = to;
	const unsigned char *f = from;

	if (t < f)
		return memcpy(to, from, len);
	while (len--)
		t[len] = f[len];
	return to;
}

void *memset(void *at, int value, size_t len)
{
	volatile unsigned char *p = at;

	while (len--)
		*p++ = (unsigned char)value;
	return at;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const unsigned char *p = a, *q = b;

	for (; len--; p++, q++)
		if (*p != *q)
			return *p < *q ? -1 : 1;
	return 0;
}
