// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure the time between two events: the start, which is probe spec 0, and the end, probe spec 1.
// generated_specs.h is generated for each run (src/pytracer/lang/codegen.py).
#include "config.h"
#include "log2.h"
#include "probe_specs.h"
#include "pairs.h"

#ifdef PT_SPEC_EVENTS
struct event {
    u64 ns;
    u64 latency_ns;
    u32 pid;
    u32 tid;
    u32 start_tid;
    u32 start_target;
    u32 target;
    char comm[PT_COMM_LEN];
    struct pt_results started;
    struct pt_results results;
};
#include "stream.h"
#else
struct row_key {
    struct pt_results started;
    struct pt_results results;
    u32 slot;
};

struct row_value {
    u64 pairs;
    u64 total_ns;
    u64 max_ns;
};
#include "rows.h"
#endif

// What is too large for the stack. Each program has its own, since another program may preempt it.
struct scratch {
    struct pt_start start;
#ifndef PT_SPEC_EVENTS
    struct row_key key;
#endif
};
BPF_PERCPU_ARRAY(scratches, struct scratch, PT_SPEC_PROGRAMS);
BPF_ARRAY(nothing, struct scratch, 1);
#include "generated_specs.h"

static __always_inline void on_start(void *ctx, u32 program, u32 target, struct pt_call *call,
                                     struct pt_pair_key *key, struct scratch *scratch, struct pt_total *total)
{
    u64 id = bpf_get_current_pid_tgid();

    pt_spec_evaluate(ctx, program, target, call, &scratch->start.results);
    scratch->start.pid = id >> 32;
    scratch->start.tid = id;
    scratch->start.target = target;
    scratch->start.ns = bpf_ktime_get_ns(); // last, so that the time of this program is not in it
    pt_pair_begin(key, &scratch->start, total);
}

#ifdef PT_SPEC_EVENTS
static __always_inline void on_pair(void *ctx, u32 program, u32 target, struct pt_call *call,
                                    struct scratch *scratch, u64 now)
{
    u64 ns = now - scratch->start.ns;
    struct event *event;

    if (ns < pt_cfg(PT_CFG_MIN))
        return;
    event = pt_reserve();
    if (!event)
        return;
    event->ns = now;
    event->latency_ns = ns;
    pt_fill_task(event);
    event->start_tid = scratch->start.tid;
    event->start_target = scratch->start.target;
    event->target = target;
    pt_probe_read_kernel(&event->started, sizeof(event->started), &scratch->start.results);
    pt_spec_evaluate(ctx, program, target, call, &event->results);
    pt_submit(ctx, event);
}
#else
static __always_inline void on_pair(void *ctx, u32 program, u32 target, struct pt_call *call,
                                    struct scratch *scratch, u64 now)
{
    u64 ns = now - scratch->start.ns;
    struct row_value *row;

    pt_probe_read_kernel(&scratch->key.started, sizeof(scratch->key.started), &scratch->start.results);
    pt_spec_evaluate(ctx, program, target, call, &scratch->key.results);
    scratch->key.slot = pt_bucket(ns);
    row = pt_row(&scratch->key);
    if (!row)
        return;
    row->pairs++;
    pt_add_time(row, ns);
}
#endif

static __always_inline int pt_on_spec(void *ctx, u32 program)
{
    u64 now = bpf_ktime_get_ns();
    u32 first = 0, number = program, unread = 0, target = pt_target(ctx);
    struct scratch *scratch = scratches.lookup(&number), *zero = nothing.lookup(&first);
    struct pt_total *total = totals.lookup(&first);
    int is_start = pt_spec_number(program) == 0;
    struct pt_pair_key key = {};
    struct pt_call call = {};

    if (!scratch || !zero || !total || pt_spec_skips_return(ctx, program, &call))
        return pt_pass();
    // An end may happen elsewhere, as in an interrupt: the filters select starts.
    if ((is_start && !pt_is_current_traced()) || !pt_spec_matches(ctx, program, target, &call))
        return pt_pass();
    key.key = pt_spec_key(ctx, program, target, &call, &unread);
    if (unread) {
        if (is_start || pt_is_current_traced())
            pt_lost(PT_LOSS_UNREAD);
        return pt_pass();
    }
    // The bytes behind a string's NUL are part of a row's key.
    pt_probe_read_kernel(scratch, sizeof(*scratch), zero);
    if (is_start)
        on_start(ctx, program, target, &call, &key, scratch, total);
    else if (pt_pair_end(&key, &scratch->start, total, now))
        on_pair(ctx, program, target, &call, scratch, now);
    return pt_pass();
}
