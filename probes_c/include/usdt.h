// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The arguments of USDT probes. Their locations differ from place to place, so they are data: user space
// fills pt_usdt (symbols/usdt_args.py) and the same program serves all. PT_USDT_MARKS is how many places there
// may be; a program knows its own by number.
#include "read.h"
#include <linux/ptrace.h>

#define PT_USDT_ARGS     12     // as many as sys/sdt.h can write down
#define PT_USDT_NONE     0xffff // no register
#define PT_USDT_DEREF    1
#define PT_USDT_SIGNED   2
#define PT_USDT_NARROW   4 // a 32-bit program: addresses wrap
#define PT_USDT_INDEX_S  8 // the index is the register's lower half, signed
#define PT_USDT_INDEX_U  16
#define PT_USDT_MISSING  (-1) // there is no such argument, or its form is not known
#define PT_USDT_UNLOADED (-2) // it is in memory that is not there

// *(base + (index << scale) + add), or without the *; then shifted, cut to its size and extended.
struct pt_usdt_arg {
    s64 add;
    u16 base; // where in struct pt_regs
    u16 index;
    u8 scale;
    u8 flags;
    u8 size; // in bytes
    u8 shift;
};

struct pt_usdt_mark {
    struct pt_usdt_arg args[PT_USDT_ARGS];
};
BPF_ARRAY(pt_usdt, struct pt_usdt_mark, PT_USDT_MARKS);

// Through a read: the verifier lets nobody look into ctx at a place that it does not know.
static __always_inline u64 pt_usdt_register(void *ctx, u16 offset)
{
    u64 value = 0;

    if (offset != PT_USDT_NONE)
        pt_probe_read_kernel(&value, sizeof(value), ctx + offset);
    return value;
}

// Read argument n (from 0) at a place: 0, PT_USDT_MISSING or PT_USDT_UNLOADED.
static __always_inline int pt_usdt_read(void *ctx, u32 place, u32 n, u64 *value)
{
    struct pt_usdt_mark *mark = pt_usdt.lookup(&place);
    u64 result, index, memory = 0;
    struct pt_usdt_arg *arg;
    u32 size, rest;

    *value = 0;
    if (!mark || n >= PT_USDT_ARGS)
        return PT_USDT_MISSING;
    arg = &mark->args[n];
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
        pt_opaque(size); // the verifier wants to see that it is 1 to 8, in the register that is used
        if (pt_probe_read_user(&memory, ((size - 1) & 7) + 1, (void *)result))
            return PT_USDT_UNLOADED;
        result = memory;
    }
    rest = 64 - 8 * size;
    result = result >> (arg->shift & 63) << rest;
    *value = arg->flags & PT_USDT_SIGNED ? (u64)((s64)result >> rest) : result >> rest;
    return 0;
}
