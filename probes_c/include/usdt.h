// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Reads arguments of USDT probes. Each site has them in other registers and memory, so user space writes their
// locations to pt_usdt (symbols/usdt_args.py), and one program serves all sites. PT_USDT_SITES is the maximum number of
// sites.
#include "read.h"
#include <linux/ptrace.h>

#define PT_USDT_ARGS       12     // the maximum of sys/sdt.h
#define PT_USDT_NONE       0xffff // no register
#define PT_USDT_DEREF      1
#define PT_USDT_SIGNED     2
#define PT_USDT_NARROW     4 // a 32-bit program: addresses wrap
#define PT_USDT_INDEX_S    8 // the index is the register's lower half, signed
#define PT_USDT_INDEX_U    16
#define PT_USDT_MISSING    (-1) // no such argument, or its form is unknown
#define PT_USDT_UNREADABLE (-2) // its memory cannot be read

// *(base + (index << scale) + add), or the sum itself; then shifted, truncated to its size and extended.
struct pt_usdt_arg {
    s64 add;
    u16 base; // offset in struct pt_regs
    u16 index;
    u8 scale;
    u8 flags;
    u8 size; // in bytes
    u8 shift;
};

struct pt_usdt_site {
    struct pt_usdt_arg args[PT_USDT_ARGS];
};
BPF_ARRAY(pt_usdt, struct pt_usdt_site, PT_USDT_SITES);

// By a helper, because the verifier rejects accesses to ctx at a variable offset.
static __always_inline u64 pt_usdt_register(void *ctx, u16 offset)
{
    u64 value = 0;

    if (offset != PT_USDT_NONE)
        pt_probe_read_kernel(&value, sizeof(value), ctx + offset);
    return value;
}

// Read argument n (from 0) of a site. Returns 0, PT_USDT_MISSING or PT_USDT_UNREADABLE.
static __always_inline int pt_usdt_read(void *ctx, u32 number, u32 n, u64 *value)
{
    struct pt_usdt_site *site = pt_usdt.lookup(&number);
    u64 result, index, memory = 0;
    struct pt_usdt_arg *arg;
    u32 size, rest;

    *value = 0;
    if (!site || n >= PT_USDT_ARGS)
        return PT_USDT_MISSING;
    arg = &site->args[n];
    size = arg->size;
    if (!size || size > sizeof(result))
        return PT_USDT_MISSING;
    index = pt_usdt_register(ctx, arg->index);
    if (arg->flags & PT_USDT_INDEX_S)
        index = (s32)index;
    else if (arg->flags & PT_USDT_INDEX_U)
        index = (u32)index;
    result = pt_usdt_register(ctx, arg->base) + (index << (arg->scale & 3)) + arg->add;
    if (arg->flags & PT_USDT_NARROW)
        result = (u32)result;
    if (arg->flags & PT_USDT_DEREF) {
        pt_opaque(size); // the verifier needs its bounds, 1 to 8, in the register that is used
        if (pt_probe_read_user(&memory, ((size - 1) & 7) + 1, (void *)result))
            return PT_USDT_UNREADABLE;
        result = memory;
    }
    rest = 64 - 8 * size;
    result = result >> (arg->shift & 63) << rest;
    *value = arg->flags & PT_USDT_SIGNED ? (u64)((s64)result >> rest) : result >> rest;
    return 0;
}
