#include "core/cluster/fence_bpf.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    WORDS = 4,
    WORD_BYTES = 4,
    WORDS_OF_CHECK_MAX = 3 * (WORDS + 1) + 2, /* instructions of one range */
    INSNS_MAX = 2 * FENCE_RANGES_MAX * WORDS_OF_CHECK_MAX + 128,
    LOG_BYTES = 4096,
    V4_DESTINATION = 16, /* in an IPv4 header */
    V6_DESTINATION = 24, /* in an IPv6 header */
    ON_STACK = -16,      /* a packet's destination, below the frame */
    KEY_ON_STACK = -20,
    MAPPED_BITS = 96,
};

/* Kept over calls: the context, and an IPv4 address. */
enum { R_CONTEXT = BPF_REG_6, R_V4 = BPF_REG_7, R_WORD = BPF_REG_2 };

/* ---- writing instructions ---- */

struct program {
    struct bpf_insn code[INSNS_MAX];
    size_t count;
};

static void emit(struct program *p, uint8_t code, int dst, int src, int offset, int32_t imm)
{
    invariant(p->count < INSNS_MAX);
    p->code[p->count++] = (struct bpf_insn){
        .code = code, .dst_reg = dst & 0xf, .src_reg = src & 0xf, .off = (int16_t)offset, .imm = imm
    };
}

static void load(struct program *p, int dst, int base, int offset)
{
    emit(p, BPF_LDX | BPF_MEM | BPF_W, dst, base, offset, 0);
}

static void copy(struct program *p, int dst, int src)
{
    emit(p, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void set(struct program *p, int dst, int32_t value)
{
    emit(p, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

/* Where `dst` is another value, to a place that land() says later. */
static size_t jump_unless(struct program *p, int dst, uint32_t value)
{
    emit(p, BPF_JMP32 | BPF_JNE | BPF_K, dst, 0, 0, (int32_t)value);
    return p->count - 1;
}

static void land(struct program *p, size_t from)
{
    p->code[from].off = (int16_t)(p->count - from - 1);
}

static void answer(struct program *p, int32_t value)
{
    set(p, BPF_REG_0, value);
    emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* ---- one range ---- */

/* Where the words of the address in question are. */
struct source {
    bool v4;          /* the last word is in R_V4, the others are those of a mapped address */
    int base, offset; /* else: at base + offset */
    bool ports;       /* and the port at R_CONTEXT + user_port */
};

static uint32_t word_of(const uint8_t address[16], int w)
{
    uint32_t v;
    memcpy(&v, address + w * WORD_BYTES, sizeof(v));
    return v;
}

static uint32_t mask_of(unsigned bits, int w)
{
    const int here = (int)bits - 32 * w;
    return here <= 0 ? 0 : here >= 32 ? UINT32_MAX : htonl(UINT32_MAX << (32 - here));
}

/* May an IPv4 address lie in it at all? What is before the last word is known. */
static bool may_be_v4(const struct http_range *r)
{
    static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff };
    for (int w = 0; w < WORDS - 1; w++)
        if ((word_of(mapped, w) & mask_of(r->bits, w)) != word_of(r->address, w))
            return false;
    return true;
}

/* True where it takes every address: what would come behind it is never reached, and the kernel wants none of
 * that. */
static bool check_range(struct program *p, const struct source *s, const struct fence_entry *entry)
{
    const struct http_range *r = &entry->range;
    size_t misses[WORDS + 1], count = 0;
    if (s->v4 && !may_be_v4(r))
        return false;
    for (int w = s->v4 ? WORDS - 1 : 0; w < WORDS; w++) {
        const uint32_t mask = mask_of(r->bits, w);
        if (mask == 0)
            continue;
        if (s->v4)
            copy(p, R_WORD, R_V4);
        else
            load(p, R_WORD, s->base, s->offset + w * WORD_BYTES);
        if (mask != UINT32_MAX)
            emit(p, BPF_ALU | BPF_AND | BPF_K, R_WORD, 0, 0, (int32_t)mask);
        misses[count++] = jump_unless(p, R_WORD, word_of(r->address, w));
    }
    if (s->ports && entry->port) {
        load(p, R_WORD, R_CONTEXT, offsetof(struct bpf_sock_addr, user_port));
        misses[count++] = jump_unless(p, R_WORD, htons(entry->port));
    }
    answer(p, 1);
    for (size_t i = 0; i < count; i++)
        land(p, misses[i]);
    return count == 0;
}

/* ---- the no ---- */

static void keep_address(struct program *p, const struct source *s)
{
    static const size_t at = offsetof(struct fence_bpf_value, address);
    for (int w = 0; w < WORDS; w++) {
        const int to = (int)at + w * WORD_BYTES;
        if (s->v4 && w < WORDS - 1) {
            emit(p, BPF_ST | BPF_MEM | BPF_W, BPF_REG_0, 0, to, w == 2 ? (int32_t)htonl(0xffff) : 0);
            continue;
        }
        if (s->v4)
            copy(p, R_WORD, R_V4);
        else
            load(p, R_WORD, s->base, s->offset + w * WORD_BYTES);
        emit(p, BPF_STX | BPF_MEM | BPF_W, BPF_REG_0, R_WORD, to, 0);
    }
    if (s->ports)
        load(p, R_WORD, R_CONTEXT, offsetof(struct bpf_sock_addr, user_port));
    else
        set(p, R_WORD, 0);
    emit(p, BPF_STX | BPF_MEM | BPF_W, BPF_REG_0, R_WORD, offsetof(struct fence_bpf_value, port), 0);
}

/* Counted and kept; then no. */
static void refuse(struct program *p, const struct source *s, int map)
{
    emit(p, BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, KEY_ON_STACK, 0);
    emit(p, BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map);
    emit(p, 0, 0, 0, 0, 0);
    copy(p, BPF_REG_2, BPF_REG_10);
    emit(p, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, KEY_ON_STACK);
    emit(p, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 0, 0);
    const size_t missing = p->count - 1;
    set(p, BPF_REG_1, 1);
    emit(p, BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_0, BPF_REG_1, offsetof(struct fence_bpf_value, count),
         BPF_ADD);
    keep_address(p, s);
    land(p, missing);
    answer(p, 0);
}

static void check_all(struct program *p, const struct source *s, const struct fence_list *allowed, int map)
{
    for (size_t i = 0; i < allowed->count; i++)
        if (check_range(p, s, &allowed->entries[i]))
            return;
    refuse(p, s, map);
}

/* ---- the programs ---- */

static void write_sock_addr(struct program *p, bool v4, const struct fence_list *allowed, int map)
{
    const struct source s = {
        .v4 = v4, .base = R_CONTEXT, .offset = offsetof(struct bpf_sock_addr, user_ip6), .ports = true
    };
    copy(p, R_CONTEXT, BPF_REG_1);
    if (v4)
        load(p, R_V4, R_CONTEXT, offsetof(struct bpf_sock_addr, user_ip4));
    check_all(p, &s, allowed, map);
}

/* The packet's destination onto the stack; a packet too short for one goes nowhere. */
static void load_destination(struct program *p, int offset, int bytes)
{
    copy(p, BPF_REG_1, R_CONTEXT);
    set(p, BPF_REG_2, offset);
    copy(p, BPF_REG_3, BPF_REG_10);
    emit(p, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, 0, ON_STACK);
    set(p, BPF_REG_4, bytes);
    emit(p, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 2, 0);
    answer(p, 0);
}

static void write_egress(struct program *p, const struct fence_list *allowed, int map)
{
    const struct source v4 = { .v4 = true };
    const struct source v6 = { .base = BPF_REG_10, .offset = ON_STACK };
    copy(p, R_CONTEXT, BPF_REG_1);
    load(p, BPF_REG_8, R_CONTEXT, offsetof(struct __sk_buff, protocol));
    const size_t not_v4 = jump_unless(p, BPF_REG_8, htons(ETH_P_IP));
    load_destination(p, V4_DESTINATION, WORD_BYTES);
    load(p, R_V4, BPF_REG_10, ON_STACK);
    check_all(p, &v4, allowed, map);
    land(p, not_v4);
    const size_t not_v6 = jump_unless(p, BPF_REG_8, htons(ETH_P_IPV6));
    load_destination(p, V6_DESTINATION, WORDS * WORD_BYTES);
    check_all(p, &v6, allowed, map);
    land(p, not_v6);
    answer(p, 1);
}

/* ---- the kernel ---- */

static const struct kind {
    enum bpf_prog_type type;
    enum bpf_attach_type at;
    bool v4;
    const char *name;
} kinds[FENCE_PROGRAMS] = {
    { BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, true, "connect (IPv4)" },
    { BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT, false, "connect (IPv6)" },
    { BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG, true, "sendmsg (IPv4)" },
    { BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG, false, "sendmsg (IPv6)" },
    { BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, false, "packets" },
};

static int bpf(enum bpf_cmd cmd, union bpf_attr *attr)
{
    return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static enum err_code refused(const char *what, struct err *e)
{
    const int error = errno;
    return err_set(e, ERR_DENIED, "the kernel takes no BPF %s: %s%s", what, strerror(error),
                   error == EPERM ? " (it needs root, or CAP_BPF and CAP_NET_ADMIN)" : "");
}

static enum err_code make_map(int *out, struct err *e)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = sizeof(uint32_t);
    attr.value_size = sizeof(struct fence_bpf_value);
    attr.max_entries = 1;
    *out = bpf(BPF_MAP_CREATE, &attr);
    return *out < 0 ? refused("map", e) : OK;
}

static enum err_code load_one(const struct kind *k, const struct program *p, int *out, struct err *e)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.prog_type = k->type;
    attr.expected_attach_type = k->at;
    attr.insns = (uintptr_t)p->code;
    attr.insn_cnt = (uint32_t)p->count;
    attr.license = (uintptr_t) "Apache-2.0";
    *out = bpf(BPF_PROG_LOAD, &attr);
    return *out < 0 ? refused(k->name, e) : OK;
}

enum err_code fence_bpf_load(const struct fence_list *allowed, struct fence_bpf *out, struct err *e)
{
    struct fence_bpf b = FENCE_BPF_INIT;
    CLEANUP(freep) struct program *p = mem_new(sizeof(*p));
    enum err_code code = make_map(&b.map, e);
    for (size_t i = 0; i < FENCE_PROGRAMS && code == OK; i++) {
        p->count = 0;
        if (kinds[i].type == BPF_PROG_TYPE_CGROUP_SKB)
            write_egress(p, allowed, b.map);
        else
            write_sock_addr(p, kinds[i].v4, allowed, b.map);
        code = load_one(&kinds[i], p, &b.programs[i], e);
    }
    if (code) {
        fence_bpf_done(&b);
        return code;
    }
    *out = b;
    return OK;
}

enum err_code fence_bpf_attach(const struct fence_bpf *b, int cgroup, struct err *e)
{
    for (size_t i = 0; i < FENCE_PROGRAMS; i++) {
        union bpf_attr attr;
        memset(&attr, 0, sizeof(attr));
        attr.target_fd = (uint32_t)cgroup;
        attr.attach_bpf_fd = (uint32_t)b->programs[i];
        attr.attach_type = kinds[i].at;
        attr.attach_flags = BPF_F_ALLOW_MULTI; /* beside what the system has there itself */
        if (bpf(BPF_PROG_ATTACH, &attr) != 0)
            return refused(kinds[i].name, e);
    }
    return OK;
}

enum err_code fence_bpf_read(const struct fence_bpf *b, struct fence_bpf_value *out, struct err *e)
{
    union bpf_attr attr;
    struct fence_bpf_value value;
    const uint32_t key = 0;
    memset(&attr, 0, sizeof(attr));
    attr.map_fd = (uint32_t)b->map;
    attr.key = (uintptr_t)&key;
    attr.value = (uintptr_t)&value;
    if (bpf(BPF_MAP_LOOKUP_ELEM, &attr) != 0)
        return err_errno(e, "read what the fence refused");
    *out = value;
    return OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void fence_bpf_done(struct fence_bpf *b)
{
    close_fd(&b->map);
    for (size_t i = 0; i < FENCE_PROGRAMS; i++)
        close_fd(&b->programs[i]);
}
