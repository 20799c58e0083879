// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure the time in softirqs (deferred work of interrupts), which a CPU runs one at a time; with WAIT, the time from
// when one is raised on a CPU until it runs there.
#include "read.h"

struct row_key {
#ifdef BY_SOFTIRQ
    u32 softirq;
#endif
#ifdef BY_CPU
    u32 cpu;
#endif
#ifdef LATENCY
    u32 slot;
#endif
#if !defined(BY_SOFTIRQ) && !defined(BY_CPU) && !defined(LATENCY)
    u32 all;
#endif
};
#include "interrupts.h"

#define SOFTIRQS 16 // Linux has 10

// softirq_raise(vec), softirq_entry(vec), softirq_exit(vec)
#if defined(HOOK_SOFTIRQ_RAW_TRACEPOINT)
#define RAISE_CONTEXT struct bpf_raw_tracepoint_args
#define ENTRY_CONTEXT struct bpf_raw_tracepoint_args
#define EXIT_CONTEXT  struct bpf_raw_tracepoint_args
#define VECTOR(ctx)   ((u32)(ctx)->args[0])
#elif defined(HOOK_SOFTIRQ_TRACEPOINT)
#define RAISE_CONTEXT struct tracepoint__irq__softirq_raise
#define ENTRY_CONTEXT struct tracepoint__irq__softirq_entry
#define EXIT_CONTEXT  struct tracepoint__irq__softirq_exit
#define VECTOR(ctx)   ((ctx)->vec)
#endif

static __always_inline void named(struct row_key *key, u32 vector)
{
    __builtin_memset(key, 0, sizeof(*key));
#ifdef BY_SOFTIRQ
    key->softirq = vector;
#endif
}

#ifdef WAIT
// The time at which each softirq was raised on this CPU; 0: it was not, or runs already.
BPF_PERCPU_ARRAY(raised_at, u64, SOFTIRQS);

// A softirq that is raised again before it runs has waited since the first time.
int raised(RAISE_CONTEXT *ctx)
{
    u32 vector = VECTOR(ctx);
    u64 *raised_ns = raised_at.lookup(&vector);

    if (raised_ns && !*raised_ns)
        *raised_ns = bpf_ktime_get_ns();
    return PT_PASS;
}

int entered(ENTRY_CONTEXT *ctx)
{
    u32 vector = VECTOR(ctx);
    int zero = 0;
    u64 *raised_ns = raised_at.lookup(&vector), *start = pt_handler_start.lookup(&zero);
    struct row_key key;

    if (!raised_ns || !start || !*raised_ns)
        return PT_PASS;
    *start = *raised_ns;
    *raised_ns = 0;
    named(&key, vector);
    return pt_handler_exit(&key);
}

int left(EXIT_CONTEXT *ctx)
{
    return PT_PASS;
}
#else
int raised(RAISE_CONTEXT *ctx)
{
    return PT_PASS;
}

int entered(ENTRY_CONTEXT *ctx)
{
    return pt_handler_enter();
}

int left(EXIT_CONTEXT *ctx)
{
    struct row_key key;

    named(&key, VECTOR(ctx));
    return pt_handler_exit(&key);
}
#endif
