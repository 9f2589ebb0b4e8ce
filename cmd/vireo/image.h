/* SPDX-License-Identifier: MIT */
/* The default disk: made before the guest starts, examined after it. */
#ifndef VIREO_IMAGE_H
#define VIREO_IMAGE_H

#include <stddef.h>

/*
 * Make an ext4 image at @image with real files in /files and their sums in
 * /files/SHA256SUMS, using @work (a folder that is there) for scratch.
 * Says itself what went wrong.
 */
int image_make(const char *image, const char *work);

/*
 * Is the file system whole (e2fsck -fn)? @text gets one clause either way.
 */
int image_fsck(const char *image, char *text, size_t size);

/*
 * Take out what the guest's self-check wrote and compare: its copies with
 * our own files, all else with the sums that the guest noted before.
 */
int image_compare(const char *image, const char *work, char *text,
		  size_t size);

#endif
