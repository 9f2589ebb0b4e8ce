/* SPDX-License-Identifier: MIT */
/*
 * vireo/spec/rng.h - the entropy device (standard: 5.4) has no feature bits
 * and no configuration; its one queue carries buffers to fill.
 */
#ifndef VIREO_SPEC_RNG_H
#define VIREO_SPEC_RNG_H

#define VIRTIO_RNG_REQUESTQ	0

#endif
