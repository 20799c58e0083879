// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Helpers for probe specs, used by the C that src/pytracer/lang/codegen.py generates (generated_specs.h). A tracer that
// includes this defines
//     pt_on_spec(ctx, program)       called for an event of a probe spec
// and includes generated_specs.h before that, which has
//     pt_spec_matches(...)           returns 1 if the event passes the filter of the spec
//     pt_spec_evaluate(...)          evaluates its expressions
//     pt_spec_key(...)               the key of a pair's start or end (pairs.h)
//     pt_spec_traces_calls(program)  returns 1 if it needs the entry of the call
//     pt_spec_is_signed(program)     returns 1 if its first expression is a signed number
//     pt_spec_save_entry(...)        saves values at the entry of a call
//     pt_spec_number(program)        the number of its probe spec: targets may need programs of their own
//     spec_N, entry_N                the programs
// PT_SPEC_NUMBERS, PT_SPEC_TEXTS and PT_SPEC_TEXT_SIZE are the capacity of a record, PT_SPEC_ENTRY_VALUES the number of
// values that are saved at the entry. Functions set "bad" to 1 if a value cannot be read or calculated.
#include "loss.h"
#include "read.h"
#include "target.h"
#include "task.h"
#include <linux/ptrace.h>

#ifdef PT_USDT_SITES
#include "usdt.h"
#endif

enum pt_memory {
    PT_MEMORY_KERNEL,
    PT_MEMORY_USER,
    PT_MEMORY_EITHER,
};

struct pt_results {
    u64 numbers[PT_SPEC_NUMBERS];
    u32 unread; // a bit for each result that could not be read
    char texts[PT_SPEC_TEXTS * PT_SPEC_TEXT_SIZE];
};

#ifndef PT_SPEC_ENTRY_VALUES
#define PT_SPEC_ENTRY_VALUES 1
#endif

// A call in flight (calls.h).
struct pt_call {
    u64 ns; // entry time; after the return, the duration
    u64 caller;
    u32 tid;
    u32 unread; // a bit for each value that could not be read
    u64 entry_values[PT_SPEC_ENTRY_VALUES];
};
#ifdef PT_SPEC_CALLS
#include "calls.h"
#endif

// Return 1 for an address in the kernel's half. (On arm64 the highest 8 bits may be a tag.)
static __always_inline int pt_spec_is_kernel(u64 address)
{
#if defined(__aarch64__)
    return (s64)(address << 8) < 0;
#else
    return (s64)address < 0;
#endif
}

// A program's memory is never read as the kernel's, whatever address it passed.
static __always_inline int pt_spec_read(void *to, u32 size, u64 address, enum pt_memory memory)
{
    if (memory == PT_MEMORY_KERNEL || (memory == PT_MEMORY_EITHER && pt_spec_is_kernel(address)))
        return pt_probe_read_kernel(to, size, (void *)address) != 0;
    return pt_probe_read_user(to, size, (void *)address) != 0;
}

static __always_inline u64 pt_spec_load(u64 address, u32 size, enum pt_memory memory, u32 *bad)
{
    u64 value = 0;

    if (pt_spec_read(&value, size, address, memory)) {
        *bad = 1;
        return 0;
    }
    return value;
}

static __always_inline long pt_spec_read_string(void *to, u32 room, u64 address, enum pt_memory memory)
{
    if (memory == PT_MEMORY_KERNEL || (memory == PT_MEMORY_EITHER && pt_spec_is_kernel(address)))
        return pt_probe_read_kernel_str(to, room, (void *)address);
    return pt_probe_read_user_str(to, room, (void *)address);
}

// Read the beginning of a string, to compare it.
static __always_inline void pt_spec_read_text(void *to, u32 room, u64 address, enum pt_memory memory,
                                              u32 *bad)
{
    if (pt_spec_read_string(to, room, address, memory) < 0)
        *bad = 1;
}

// Read a string into a record. "limit": the size of an array that may lack a NUL; 0: there is a NUL. A string that does
// not fit is truncated and counted.
static __always_inline void pt_spec_save_text(char *to, u32 limit, u64 address, enum pt_memory memory,
                                              u32 *bad)
{
    u32 room = limit && limit < PT_SPEC_TEXT_SIZE ? limit + 1 : PT_SPEC_TEXT_SIZE;
    long size = pt_spec_read_string(to, room, address, memory);
    char end = 1;

    if (size < 0) {
        to[0] = 0;
        *bad = 1;
        return;
    }
    if (room == PT_SPEC_TEXT_SIZE && size == PT_SPEC_TEXT_SIZE &&
        !pt_spec_read(&end, 1, address + PT_SPEC_TEXT_SIZE - 1, memory) && end)
        pt_lost(PT_LOSS_TRUNCATED);
}

static __always_inline void pt_spec_comm(char *to)
{
    bpf_get_current_comm(to, PT_COMM_LEN);
}

// Argument n (from 0) at a function's entry.
static __always_inline u64 pt_spec_argument(void *ctx, u32 n)
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

// The return value at a function's return.
static __always_inline u64 pt_spec_return_value(void *ctx)
{
    struct pt_regs *regs = ctx;

#if defined(__x86_64__)
    return regs->ax;
#else
    return regs->regs[0];
#endif
}

// Argument n of a trampoline or tracepoint. Read by a helper, so that it is a number to the verifier, which allows no
// arithmetic with pointers.
static __always_inline u64 pt_spec_context_word(void *ctx, u32 n)
{
    u64 value = 0;

    pt_probe_read_kernel(&value, sizeof(value), ctx + n * sizeof(value));
    return value;
}

#ifdef PT_USDT_SITES
static __always_inline u64 pt_spec_usdt_argument(void *ctx, u32 target, u32 n, u32 *bad)
{
    u64 value;

    if (pt_usdt_read(ctx, target, n, &value))
        *bad = 1;
    return value;
}
#endif

static __always_inline u64 pt_spec_divide(u64 a, u64 b, u32 *bad)
{
    if (!b) {
        *bad = 1;
        return 0;
    }
    return a / b;
}

static __always_inline u64 pt_spec_modulo(u64 a, u64 b, u32 *bad)
{
    return b ? a % b : pt_spec_divide(a, b, bad);
}

// BPF has only unsigned division. As in C, the remainder has the sign of the dividend.
static __always_inline s64 pt_spec_divide_signed(s64 a, s64 b, u32 *bad)
{
    u64 result = pt_spec_divide(a < 0 ? -(u64)a : (u64)a, b < 0 ? -(u64)b : (u64)b, bad);

    return (a < 0) != (b < 0) ? -result : result;
}

static __always_inline s64 pt_spec_modulo_signed(s64 a, s64 b, u32 *bad)
{
    u64 result = pt_spec_modulo(a < 0 ? -(u64)a : (u64)a, b < 0 ? -(u64)b : (u64)b, bad);

    return a < 0 ? -result : result;
}

static __always_inline u64 pt_spec_entry_value(struct pt_call *call, u32 n, u32 *bad)
{
    if (call->unread >> n & 1)
        *bad = 1;
    return call->entry_values[n];
}

static __always_inline void pt_spec_save_entry(void *ctx, u32 program, u32 target, struct pt_call *to);
static __always_inline int pt_spec_traces_calls(u32 program);
static __always_inline int pt_on_spec(void *ctx, u32 program);

// Save a call at its entry.
static __always_inline int pt_on_spec_entry(void *ctx, u32 program)
{
#ifdef PT_SPEC_CALLS
    struct pt_call call = {};

    if (pt_may_trace_current()) {
        pt_spec_save_entry(ctx, program, pt_target(ctx), &call);
        pt_call_enter(ctx, &call);
    }
#endif
    return pt_pass();
}

// Return 1 if the entry of the call that returns here was needed but not seen, or if the return belongs to another
// function that shares the instruction. Copies what was saved at the entry into "call".
static __always_inline int pt_spec_skips_return(void *ctx, u32 program, struct pt_call *call)
{
#ifdef PT_SPEC_CALLS
    u64 point = pt_point();

    if (pt_spec_traces_calls(program) || (point & PT_SITE))
        return !pt_call_exit(ctx, call, &call->ns) &&
               (pt_spec_traces_calls(program) || (point & (PT_TAIL | PT_INDIRECT)));
#endif
    return 0;
}
