/* SPDX-License-Identifier: MIT */
/* See tap_steer.h. The rules lie in memory that the program shares with us. */
#include "backend/tap_steer.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the program reads. */
struct rules {
	uint32_t types, mask, unclassified;
	uint8_t pair[VIO_NET_RSS_TABLE];
	struct vio_net_toeplitz key;
};

struct tap_steer {
	int map_fd, prog_fd;
	struct rules *rules;
};

/* -- the program --------------------------------------------------------- */

/* Registers that keep their values: the packet, the rules, the hash, what
 * types of hash there are. 0 has what is loaded of the packet. */
enum { R_LOAD = 0, R_A = 2, R_B = 3, R_PACKET = 6, R_RULES, R_HASH, R_TYPES };

#define INSNS	2048u

struct prog {
	struct bpf_insn insn[INSNS];
	unsigned n;
};

/* Returns where it stands, so that a jump can be given its end later. */
static unsigned put(struct prog *p, unsigned code, unsigned dst, unsigned src,
		    int off, int imm)
{
	p->insn[p->n] = (struct bpf_insn){
		.code = (uint8_t)code, .dst_reg = dst & 15u,
		.src_reg = src & 15u, .off = (int16_t)off, .imm = imm,
	};
	return p->n++;
}

static void land(struct prog *p, unsigned jump)
{
	p->insn[jump].off = (int16_t)(p->n - jump - 1);
}

static void load(struct prog *p, unsigned size, int at)
{
	put(p, BPF_LD | BPF_ABS | size, 0, 0, 0, at);
}

static unsigned jump_if(struct prog *p, unsigned how, unsigned reg, int imm)
{
	return put(p, BPF_JMP | how | BPF_K, reg, 0, 0, imm);
}

static void alu(struct prog *p, unsigned how, unsigned reg, int imm)
{
	put(p, BPF_ALU64 | how | BPF_K, reg, 0, 0, imm);
}

/* The word at @at is the @nr-th of what is hashed: eight lookups. */
static void hash_word(struct prog *p, int at, unsigned nr)
{
	size_t part = offsetof(struct rules, key) + nr * 8 * 64;

	load(p, BPF_W, at);
	for (unsigned i = 0; i < 8; i++) {
		put(p, BPF_ALU64 | BPF_MOV | BPF_X, R_A, R_LOAD, 0, 0);
		alu(p, BPF_RSH, R_A, (int)(28 - 4 * i));
		alu(p, BPF_AND, R_A, 15);
		alu(p, BPF_LSH, R_A, 2);
		put(p, BPF_ALU64 | BPF_ADD | BPF_X, R_A, R_RULES, 0, 0);
		put(p, BPF_LDX | BPF_MEM | BPF_W, R_B, R_A,
		    (int)(part + i * 64), 0);
		put(p, BPF_ALU64 | BPF_XOR | BPF_X, R_HASH, R_B, 0, 0);
	}
}

/* The queue of the hash, and the end. */
static void look_up(struct prog *p)
{
	put(p, BPF_LDX | BPF_MEM | BPF_W, R_A, R_RULES,
	    offsetof(struct rules, mask), 0);
	put(p, BPF_ALU64 | BPF_AND | BPF_X, R_HASH, R_A, 0, 0);
	alu(p, BPF_AND, R_HASH, VIO_NET_RSS_TABLE - 1);
	put(p, BPF_ALU64 | BPF_ADD | BPF_X, R_HASH, R_RULES, 0, 0);
	put(p, BPF_LDX | BPF_MEM | BPF_B, R_LOAD, R_HASH,
	    offsetof(struct rules, pair), 0);
	put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* The queue of what has no hash, and the end. */
static void no_hash(struct prog *p)
{
	put(p, BPF_LDX | BPF_MEM | BPF_W, R_LOAD, R_RULES,
	    offsetof(struct rules, unclassified), 0);
	put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

struct version {
	int proto_at, addr_at, words;
	unsigned ip, tcp, udp;
};

/* One version of IP, from its protocol on; with its ports behind it. */
static void put_version(struct prog *p, const struct version *v,
			unsigned fragment)
{
	unsigned tcp, udp, ip, other;
	int i;

	load(p, BPF_B, v->proto_at);
	tcp = jump_if(p, BPF_JEQ, R_LOAD, 6);
	udp = jump_if(p, BPF_JEQ, R_LOAD, 17);
	if (fragment)
		land(p, fragment);
	ip = jump_if(p, BPF_JSET, R_TYPES, (int)v->ip);
	no_hash(p);
	land(p, ip);
	for (i = 0; i < v->words; i++)
		hash_word(p, v->addr_at + 4 * i, (unsigned)i);
	look_up(p);
	land(p, tcp);
	/* Without this type, by the addresses. */
	tcp = jump_if(p, BPF_JSET, R_TYPES, (int)v->tcp);
	other = put(p, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	p->insn[other].off = (int16_t)(ip - other - 1);
	land(p, udp);
	udp = jump_if(p, BPF_JSET, R_TYPES, (int)v->udp);
	other = put(p, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	p->insn[other].off = (int16_t)(ip - other - 1);
	land(p, tcp);
	land(p, udp);
	for (i = 0; i <= v->words; i++)
		hash_word(p, v->addr_at + 4 * i, (unsigned)i);
	look_up(p);
}

static void put_program(struct prog *p, int map_fd)
{
	static const struct version v4 = {
		23, 26, 2, VIRTIO_NET_HASH_TYPE_IPv4,
		VIRTIO_NET_HASH_TYPE_TCPv4, VIRTIO_NET_HASH_TYPE_UDPv4,
	}, v6 = {
		20, 22, 8, VIRTIO_NET_HASH_TYPE_IPv6,
		VIRTIO_NET_HASH_TYPE_TCPv6, VIRTIO_NET_HASH_TYPE_UDPv6,
	};
	unsigned ip4, ip6, plain, fragment;

	put(p, BPF_ALU64 | BPF_MOV | BPF_X, R_PACKET, 1, 0, 0);
	put(p, BPF_LD | BPF_IMM | BPF_DW, R_RULES, BPF_PSEUDO_MAP_VALUE, 0,
	    map_fd);
	put(p, 0, 0, 0, 0, 0);
	put(p, BPF_ALU64 | BPF_MOV | BPF_K, R_HASH, 0, 0, 0);
	put(p, BPF_LDX | BPF_MEM | BPF_W, R_TYPES, R_RULES,
	    offsetof(struct rules, types), 0);
	load(p, BPF_H, 12);
	ip4 = jump_if(p, BPF_JEQ, R_LOAD, 0x0800);
	ip6 = jump_if(p, BPF_JEQ, R_LOAD, 0x86dd);
	no_hash(p);
	land(p, ip4);
	load(p, BPF_B, 14);
	plain = jump_if(p, BPF_JEQ, R_LOAD, 0x45);
	no_hash(p);
	land(p, plain);
	load(p, BPF_H, 20);
	fragment = jump_if(p, BPF_JSET, R_LOAD, 0x3fff);
	put_version(p, &v4, fragment);
	land(p, ip6);
	put_version(p, &v6, 0);
}

/* -- the kernel ---------------------------------------------------------- */

static int bpf(int cmd, union bpf_attr *a)
{
	return (int)syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static int make_map(void)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = sizeof(uint32_t);
	a.value_size = sizeof(struct rules);
	a.max_entries = 1;
	a.map_flags = BPF_F_MMAPABLE;
	return bpf(BPF_MAP_CREATE, &a);
}

static int make_prog(int map_fd)
{
	struct prog *p = calloc(1, sizeof(*p));
	union bpf_attr a;
	int fd;

	if (!p)
		return -1;
	put_program(p, map_fd);
	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a.insns = (uint64_t)(uintptr_t)p->insn;
	a.insn_cnt = p->n;
	a.license = (uint64_t)(uintptr_t)"MIT";
	fd = bpf(BPF_PROG_LOAD, &a);
	free(p);
	return fd;
}

struct tap_steer *tap_steer_open(void)
{
	struct tap_steer *t = calloc(1, sizeof(*t));
	void *p = MAP_FAILED;

	if (!t)
		return NULL;
	t->prog_fd = -1;
	t->map_fd = make_map();
	if (t->map_fd >= 0)
		p = mmap(NULL, sizeof(struct rules), PROT_READ | PROT_WRITE,
			 MAP_SHARED, t->map_fd, 0);
	if (p != MAP_FAILED) {
		t->rules = p;
		t->prog_fd = make_prog(t->map_fd);
	}
	if (t->prog_fd >= 0)
		return t;
	tap_steer_close(t);
	return NULL;
}

int tap_steer_set(struct tap_steer *t, int fd,
		  const struct vio_net_steering *s)
{
	struct rules *r = t->rules;
	int prog = s->rss ? t->prog_fd : -1;

	/* Packets go by one, the other, or by half of each: see above. */
	if (s->rss) {
		r->types = s->hash_types;
		r->mask = s->table.mask;
		r->unclassified = s->table.unclassified;
		memcpy(r->pair, s->table.pair, sizeof(r->pair));
		r->key = s->key;
	}
	return ioctl(fd, TUNSETSTEERINGEBPF, &prog) ? -errno : 0;
}

void tap_steer_close(struct tap_steer *t)
{
	if (!t)
		return;
	if (t->rules)
		munmap(t->rules, sizeof(*t->rules));
	if (t->prog_fd >= 0)
		close(t->prog_fd);
	if (t->map_fd >= 0)
		close(t->map_fd);
	free(t);
}
