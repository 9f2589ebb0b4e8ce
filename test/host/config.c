/* SPDX-License-Identifier: MIT */
/* Configuration files: sections, keys, and what is wrong where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/config.h"
#include "host/log.h"
#include "vtest.h"

static struct config c;
static char said[512];

static int parse(const char *text)
{
	int rc;

	log_catch(said, sizeof(said));
	rc = config_parse(&c, "f", strdup(text));
	log_catch(NULL, 0);
	return rc;
}

static void expect(unsigned i, const char *section, const char *key,
		   const char *value, unsigned line)
{
	CHECK_LT(i, c.nr);
	CHECK_STREQ(c.item[i].section, section);
	CHECK_EQ(!key, !c.item[i].key);
	if (key)
		CHECK_STREQ(c.item[i].key, key);
	CHECK_EQ(!value, !c.item[i].value);
	if (value)
		CHECK_STREQ(c.item[i].value, value);
	CHECK_EQ(c.item[i].line, line);
}

TEST("a file has sections, keys and values", "")
{
	CHECK_EQ(parse("# first\n\n[a]\n key =  a value  \nflag\r\n"
		       "; x\n[ b-2.c_ ]\nk=v=w#z\nempty ="), 0);
	CHECK_EQ(c.nr, 6);
	expect(0, "a", NULL, NULL, 3);
	expect(1, "a", "key", "a value", 4);
	expect(2, "a", "flag", NULL, 5);
	expect(3, "b-2.c_", NULL, NULL, 7);
	expect(4, "b-2.c_", "k", "v=w#z", 8);
	expect(5, "b-2.c_", "empty", "", 9);
	config_free(&c);
	CHECK_EQ(parse(""), 0);
	CHECK_EQ(c.nr, 0);
	config_free(&c);
}

TEST("what is wrong is named by file and line", "")
{
	static const struct { const char *text, *error; } bad[] = {
		{ "\nkey = v\n", "f:2: a section must come first" },
		{ "[a\n", "f:1: a section is a name in brackets" },
		{ "[]\n", "f:1: a name is made of" },
		{ "[a b]\n", "f:1: a name is made of" },
		{ "[a]\n\n[a]",
		  "f:3: there is a section 'a' already, in line 1" },
		{ "[a]\n= v", "f:2: this is no 'key = value'" },
		{ "[a]\nk k = v", "f:2: this is no 'key = value'" },
		{ "[0123456789012345678901234567890123456789"
		  "012345678901234567890123]", "f:1: a name is made of" },
	};
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_LT(parse(bad[i].text), 0);
		if (!strstr(said, bad[i].error))
			FAIL("'%s' is not '%s'", said, bad[i].error);
		CHECK(!c.text && !c.item);
	}
}

TEST("a file that is none is refused", "")
{
	log_catch(said, sizeof(said));
	CHECK_LT(config_load(&c, "/nonexistent"), 0);
	CHECK(strstr(said, "/nonexistent: No such file"));
	CHECK_LT(config_load(&c, "/proc/self/exe"), 0);
	log_catch(NULL, 0);
}
