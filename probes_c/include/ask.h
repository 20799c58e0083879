// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Helpers for probe specs, used by the C that src/pytracer/lang/codegen.py generates (asked.h). A tracer that
// includes this defines
//     pt_asked(ctx, which)    called for an event of probe spec "which"
// and includes asked.h before that, which has
//     pt_wanted(...)          true if the event passes the filter of the spec
//     pt_answer(...)          evaluates its expressions
//     pt_begins(which)        true if it traces a call from its beginning to its end
//     pt_has_sign(which)      true if its first expression is a signed number
//     pt_keep(...)            saves values at the beginning of a call
//     ask_N, begin_N          the programs
// PT_ASK_NUMBERS, PT_ASK_TEXTS and PT_ASK_ROOM say how much a record holds, PT_ASK_KEPT what is kept of calls.
// "bad" is set to 1 by what cannot be read, or calculated.
#include "loss.h"
#include "read.h"
#include "target.h"
#include "task.h"
#include <linux/ptrace.h>

#ifdef PT_USDT_MARKS
#include "usdt.h"
#endif

enum pt_memory {
    PT_MEMORY_KERNEL,
    PT_MEMORY_USER,
    PT_MEMORY_EITHER,
};

struct pt_answers {
    u64 numbers[PT_ASK_NUMBERS];
    u32 missing; // a bit for each answer that could not be read
    char texts[PT_ASK_TEXTS * PT_ASK_ROOM];
};

#ifndef PT_ASK_KEPT
#define PT_ASK_KEPT 1
#endif

// A call from its beginning to its end (calls.h).
struct pt_call {
    u64 ns; // when it began; once it has ended, how long it took
    u64 caller;
    u32 tid;
    u32 missing; // likewise
    u64 kept[PT_ASK_KEPT];
};
#ifdef PT_ASK_CALLS
#include "calls.h"
#endif

// In which half of the address space it is. (arm64 leaves the highest 8 bits to programs, for tags.)
static __always_inline int pt_ask_is_kernel(u64 address)
{
#if defined(__aarch64__)
    return (s64)(address << 8) < 0;
#else
    return (s64)address < 0;
#endif
}

// A program's memory is never read as the kernel's, whatever address it passed.
static __always_inline int pt_ask_copy(void *to, u32 size, u64 address, enum pt_memory memory)
{
    if (memory == PT_MEMORY_KERNEL || (memory == PT_MEMORY_EITHER && pt_ask_is_kernel(address)))
        return pt_probe_read_kernel(to, size, (void *)address) != 0;
    return pt_probe_read_user(to, size, (void *)address) != 0;
}

static __always_inline u64 pt_ask_load(u64 address, u32 size, enum pt_memory memory, u32 *bad)
{
    u64 value = 0;

    if (pt_ask_copy(&value, size, address, memory)) {
        *bad = 1;
        return 0;
    }
    return value;
}

static __always_inline long pt_ask_string(void *to, u32 room, u64 address, enum pt_memory memory)
{
    if (memory == PT_MEMORY_KERNEL || (memory == PT_MEMORY_EITHER && pt_ask_is_kernel(address)))
        return pt_probe_read_kernel_str(to, room, (void *)address);
    return pt_probe_read_user_str(to, room, (void *)address);
}

// The beginning of a text, to compare it.
static __always_inline void pt_ask_fetch(void *to, u32 room, u64 address, enum pt_memory memory, u32 *bad)
{
    if (pt_ask_string(to, room, address, memory) < 0)
        *bad = 1;
}

// A text into a record; "limit": it has no more bytes, with or without an end (0: it has one). What is longer
// than the room for it is cut, and counted.
static __always_inline void pt_ask_text(char *to, u32 limit, u64 address, enum pt_memory memory, u32 *bad)
{
    u32 room = limit && limit < PT_ASK_ROOM ? limit + 1 : PT_ASK_ROOM;
    long size = pt_ask_string(to, room, address, memory);
    char end = 1;

    if (size < 0) {
        to[0] = 0;
        *bad = 1;
        return;
    }
    if (room == PT_ASK_ROOM && size == PT_ASK_ROOM &&
        !pt_ask_copy(&end, 1, address + PT_ASK_ROOM - 1, memory) && end)
        pt_lost(PT_LOSS_TRUNCATED);
}

static __always_inline void pt_ask_comm(char *to)
{
    bpf_get_current_comm(to, PT_COMM_LEN);
}

// Argument n (from 0) of a function that begins.
static __always_inline u64 pt_ask_argument(void *ctx, u32 n)
{
    struct pt_regs *regs = ctx;

#if defined(__x86_64__)
    return n == 0   ? regs->di
           : n == 1 ? regs->si
           : n == 2 ? regs->dx
           : n == 3 ? regs->cx
           : n == 4 ? regs->r8
                    : regs->r9;
#else
    return regs->regs[n];
#endif
}

// What a function returns.
static __always_inline u64 pt_ask_returned(void *ctx)
{
    struct pt_regs *regs = ctx;

#if defined(__x86_64__)
    return regs->ax;
#else
    return regs->regs[0];
#endif
}

// Number n of what a trampoline or a tracepoint passes. Through a read: so it is a number to the verifier, which
// calculates with them, and not with addresses.
static __always_inline u64 pt_ask_passed(void *ctx, u32 n)
{
    u64 value = 0;

    pt_probe_read_kernel(&value, sizeof(value), ctx + n * sizeof(value));
    return value;
}

#ifdef PT_USDT_MARKS
static __always_inline u64 pt_ask_mark(void *ctx, u32 target, u32 n, u32 *bad)
{
    u64 value;

    if (pt_usdt_read(ctx, target, n, &value))
        *bad = 1;
    return value;
}
#endif

static __always_inline u64 pt_ask_divided(u64 a, u64 b, u32 *bad)
{
    if (!b) {
        *bad = 1;
        return 0;
    }
    return a / b;
}

static __always_inline u64 pt_ask_rest(u64 a, u64 b, u32 *bad)
{
    return b ? a % b : pt_ask_divided(a, b, bad);
}

// BPF divides what has no sign. As in C, what is left over has the sign of what was divided.
static __always_inline s64 pt_ask_divided_signed(s64 a, s64 b, u32 *bad)
{
    u64 result = pt_ask_divided(a < 0 ? -(u64)a : (u64)a, b < 0 ? -(u64)b : (u64)b, bad);

    return (a < 0) != (b < 0) ? -result : result;
}

static __always_inline s64 pt_ask_rest_signed(s64 a, s64 b, u32 *bad)
{
    u64 result = pt_ask_rest(a < 0 ? -(u64)a : (u64)a, b < 0 ? -(u64)b : (u64)b, bad);

    return a < 0 ? -result : result;
}

static __always_inline u64 pt_ask_kept(struct pt_call *call, u32 n, u32 *bad)
{
    if (call->missing >> n & 1)
        *bad = 1;
    return call->kept[n];
}

static __always_inline void pt_keep(void *ctx, u32 which, u32 target, struct pt_call *to);
static __always_inline int pt_begins(u32 which);
static __always_inline int pt_asked(void *ctx, u32 which);

// A call begins that question "which" is about.
static __always_inline int pt_begun(void *ctx, u32 which)
{
#ifdef PT_ASK_CALLS
    struct pt_call call = {};

    if (pt_task() != PT_NO) {
        pt_keep(ctx, which, pt_target(ctx), &call);
        pt_call_begins(ctx, &call);
    }
#endif
    return pt_pass();
}

// Whether the question is about calls, and this is the end of none that was seen to begin; or a return of a function
// that others jump to, and no such call's. What was kept of it is put into "call".
static __always_inline int pt_unseen(void *ctx, u32 which, struct pt_call *call)
{
#ifdef PT_ASK_CALLS
    u64 point = pt_point();

    if (pt_begins(which) || (point & PT_SITE))
        return !pt_call_ends(ctx, call, &call->ns) && (pt_begins(which) || (point & (PT_TAIL | PT_LOST)));
#endif
    return 0;
}
