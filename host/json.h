/* SPDX-License-Identifier: MIT */
/*
 * Reading JSON in place, as far as our own answers need it: a value is a
 * pointer to where it begins in a text that ends with a zero byte. Whatever
 * the text is, nothing past its end is read and every function comes back.
 */
#ifndef HOST_JSON_H
#define HOST_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The member of an object; NULL if there is none. @object may be NULL. */
const char *json_member(const char *object, const char *name);
/* The first element of an array, and the one after; NULL at the end. */
const char *json_first(const char *array);
const char *json_next(const char *element);

/* The value of a member, or what is given where there is none. */
uint64_t json_u64(const char *object, const char *name, uint64_t other);
bool json_bool(const char *object, const char *name);
/* Copied, cut to @len; "" where there is none. Escapes stay as they are. */
void json_str(const char *object, const char *name, char *out, size_t len);

#endif
