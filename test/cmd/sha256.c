/* SPDX-License-Identifier: MIT */
/* SHA-256 against the examples that FIPS 180-4's authors publish. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/vireo/sha256.h"
#include "vtest.h"

static const char million[] =
	"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static const char *sum(const void *data, size_t len)
{
	static char hex[SHA256_HEX + 1];
	struct sha256 s;

	sha256_init(&s);
	sha256_add(&s, data, len);
	sha256_end(&s, hex);
	return hex;
}

TEST("known sums", "")
{
	static const char two[] =
		"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

	CHECK_STREQ(sum("", 0), "e3b0c44298fc1c149afbf4c8996fb924"
				"27ae41e4649b934ca495991b7852b855");
	CHECK_STREQ(sum("abc", 3), "ba7816bf8f01cfea414140de5dae2223"
				   "b00361a396177a9cb410ff61f20015ad");
	CHECK_STREQ(sum(two, 56), "248d6a61d20638b8e5c026930c3e6039"
				  "a33ce45964ff2167f6ecedd419db06c1");
}

TEST("a sum does not depend on how the data is cut", "")
{
	struct vtest_rand r = vtest_rand_init(vtest_seed());
	char *data = malloc(1000000), hex[SHA256_HEX + 1];
	struct sha256 s;
	size_t at = 0;

	CHECK(data != NULL);
	memset(data, 'a', 1000000);
	sha256_init(&s);
	while (at < 1000000) {
		size_t n = vtest_below(&r, 300);

		if (n > 1000000 - at)
			n = 1000000 - at;
		sha256_add(&s, data + at, n);
		at += n;
	}
	sha256_end(&s, hex);
	CHECK_STREQ(hex, million);
	free(data);
}

TEST("a file that is not there has no sum", "")
{
	char hex[SHA256_HEX + 1];

	CHECK_LT(sha256_file("/nonexistent", hex), 0);
	CHECK_LT(sha256_file("/", hex), 0);
}
