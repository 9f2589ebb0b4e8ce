/* SPDX-License-Identifier: MIT */
/* What was found, as text for people and as JSON. */
#include "probe.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const words[] = {
	[V_OK] = "ok", [V_BREACH] = "BREACH", [V_NOTE] = "note",
	[V_NONE] = "-", [V_UNTRIED] = "untried",
};

void complain(const char *fmt, ...)
{
	va_list ap;

	fputs("vireo-probe: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void found(struct probe *p, const char *id, enum verdict verdict,
	   const char *fmt, ...)
{
	struct finding *f = &p->finding[p->nr_findings];
	va_list ap;

	if (p->nr_findings == FINDINGS_MAX)
		return;
	p->nr_findings++;
	p->nr[verdict]++;
	f->id = id;
	f->verdict = verdict;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

/* Of a field of the configuration, as people write it. */
static void field_text(char *out, size_t len, const struct type_field *f,
		       const unsigned char *config)
{
	size_t at = 0;

	*out = 0;
	if (f->kind == FIELD_LE) {
		snprintf(out, len, "%" PRIu64, field_value(f, config));
		return;
	}
	for (unsigned i = 0; i < f->len && at + 4 < len; i++) {
		unsigned char c = config[f->offset + i];

		if (f->kind == FIELD_TEXT && !c)
			break;
		if (f->kind == FIELD_TEXT)
			out[at++] = c > 0x1f && c < 0x7f ? (char)c : '?';
		else
			at += (size_t)snprintf(out + at, len - at, "%s%02x",
					       i ? ":" : "", c);
	}
	if (f->kind == FIELD_TEXT)
		out[at] = 0;
}

static bool field_shown(const struct probe *p, const struct type_field *f)
{
	return (f->feature < 0 || has_f(p, (unsigned)f->feature)) &&
		(size_t)f->offset + f->len <= p->config_len;
}

/* -- text ----------------------------------------------------------------- */

static void print_bits(const struct probe *p)
{
	printf("features:");
	for (unsigned i = 0; i < 64; i++) {
		const char *name = type_feature_name(p->type, i);

		if (!has_f(p, i))
			continue;
		if (name)
			printf(" %s", name);
		else
			printf(" bit-%u", i);
	}
	printf("\nprotocol features:");
	for (unsigned i = 0; i < 64; i++) {
		const char *name = vhu_protocol_name(i);

		if (has_pf(p, i) && name)
			printf(" %s", name);
		else if (has_pf(p, i))
			printf(" bit-%u", i);
	}
	printf("%s\n", p->protocol ? "" : " none");
}

static void print_config(const struct probe *p)
{
	const struct type_field *f;
	char value[128];

	if (!has_pf(p, VHOST_USER_PROTOCOL_F_CONFIG)) {
		printf("configuration: kept by the front end\n");
		return;
	}
	printf("configuration:\n");
	for (f = p->type ? p->type->fields : NULL; f && f->name; f++) {
		if (!field_shown(p, f))
			continue;
		field_text(value, sizeof(value), f, p->config);
		printf("  %-26s %s\n", f->name, value);
	}
	if (!p->type) {
		for (size_t i = 0; i < p->config_len; i++)
			printf("%s%02x", i % 16 ? " " : i ? "\n  " : "  ",
			       p->config[i]);
		printf("\n");
	}
}

void report_text(const struct probe *p)
{
	printf("device: %s%s\n", p->type ? p->type->name : "unknown",
	       p->type_given ? " (as told)" :
	       p->type ? " (guessed from what it offers)" :
	       " (nothing gives it away: say --type)");
	print_bits(p);
	if (p->queues)
		printf("queues: %u\n", p->queues);
	print_config(p);
	if (p->smoke_tried)
		printf("smoke test: %s\n", p->smoke_good ? "good" : "FAILED");
	for (const char *s = text_str(&p->smoke); *s;) {
		size_t n = strcspn(s, "\n");

		printf("  %.*s\n", (int)n, s);
		s += n + 1;
	}
	printf("rules:\n");
	for (unsigned i = 0; i < p->nr_findings; i++)
		printf("  %-7s %s: %s\n", words[p->finding[i].verdict],
		       p->finding[i].id, p->finding[i].text);
	printf("%u kept, %u broken, %u notes, %u do not apply, %u not tried\n",
	       p->nr[V_OK], p->nr[V_BREACH], p->nr[V_NOTE], p->nr[V_NONE],
	       p->nr[V_UNTRIED]);
	if (!p->rules)
		printf("wrong messages were not tried: that is what --rules is for\n");
}

/* -- JSON ----------------------------------------------------------------- */

static void add_bits(struct text *t, const struct probe *p)
{
	char number[24];

	text_key(t, "features");
	text_add(t, "[", 1);
	for (unsigned i = 0; i < 64; i++) {
		const char *name = type_feature_name(p->type, i);

		if (!has_f(p, i))
			continue;
		snprintf(number, sizeof(number), "bit-%u", i);
		text_comma(t);
		text_json(t, name ? name : number);
	}
	text_add(t, "]", 1);
	text_key(t, "protocol_features");
	text_add(t, "[", 1);
	for (unsigned i = 0; i < 64; i++) {
		const char *name = vhu_protocol_name(i);

		if (!has_pf(p, i))
			continue;
		snprintf(number, sizeof(number), "bit-%u", i);
		text_comma(t);
		text_json(t, name ? name : number);
	}
	text_add(t, "]", 1);
}

static void add_config(struct text *t, const struct probe *p)
{
	const struct type_field *f;
	char value[128];

	text_key(t, "config");
	text_add(t, "{", 1);
	for (f = p->type ? p->type->fields : NULL; f && f->name; f++) {
		if (!field_shown(p, f))
			continue;
		field_text(value, sizeof(value), f, p->config);
		if (f->kind == FIELD_LE)
			text_member_u64(t, f->name, field_value(f, p->config));
		else
			text_member_str(t, f->name, value);
	}
	text_add(t, "}", 1);
}

void report_json(const struct probe *p)
{
	static const char *const verdicts[] = {
		[V_OK] = "ok", [V_BREACH] = "breach", [V_NOTE] = "note",
		[V_NONE] = "not applicable", [V_UNTRIED] = "untried",
	};
	struct text t;

	text_init(&t, 1 << 20);
	text_add(&t, "{", 1);
	text_member_str(&t, "type", p->type ? p->type->name : "unknown");
	text_member_bool(&t, "type_given", p->type_given);
	add_bits(&t, p);
	text_member_u64(&t, "queues", p->queues);
	add_config(&t, p);
	text_member_bool(&t, "smoke_tried", p->smoke_tried);
	text_member_bool(&t, "smoke_good", p->smoke_good);
	text_member_str(&t, "smoke", text_str(&p->smoke));
	text_key(&t, "rules");
	text_add(&t, "[", 1);
	for (unsigned i = 0; i < p->nr_findings; i++) {
		text_comma(&t);
		text_add(&t, "{", 1);
		text_member_str(&t, "id", p->finding[i].id);
		text_member_str(&t, "verdict",
				verdicts[p->finding[i].verdict]);
		text_member_str(&t, "text", p->finding[i].text);
		text_add(&t, "}", 1);
	}
	text_add(&t, "]", 1);
	text_member_bool(&t, "wrong_messages_tried", p->rules);
	text_member_u64(&t, "breaches", p->nr[V_BREACH]);
	text_fmt(&t, "}\n");
	fputs(text_str(&t), stdout);
	text_free(&t);
}
