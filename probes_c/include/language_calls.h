// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Calls of functions in programs of languages, from entry to return: a stack of open calls for each thread.
//
//     u32 pt_language_call_begins(ctx, total)              opens a call; returns its depth from 1 on
//     u32 pt_language_call_ends(ctx, &call, total)         takes it out; returns its depth from 1 on, 0 if none is open
//     enables                                              a program for probes that only have to be wanted
//
// A call is recognized by the address of its function's name, which is the same at its entry and its return. Calls on
// top of it were left without a return (Ruby does so where a method in C raises); they are counted. Only a thread
// itself writes its entries, so no update is lost.
#include "language.h"
#include "task.h"

#define PT_OPEN_CALLS  65536
#define PT_THREADS_MAX 16384
#define PT_LEFT_MAX    16 // calls on top of one that returns

struct pt_open_key {
    u64 thread;
    u64 depth;
};

struct pt_open_call {
    u64 ns;
    u64 name;
};
BPF_HASH(pt_open_calls, struct pt_open_key, struct pt_open_call, PT_OPEN_CALLS);
BPF_HASH(pt_depths, u64, u64, PT_THREADS_MAX);

struct pt_call_total {
    u64 calls;
    u64 returns;
    u64 left;
    u64 unstarted;
    u64 open; // counted up and down: only the sum over all CPUs is a number
};
BPF_PERCPU_ARRAY(totals, struct pt_call_total, 1);

static __always_inline struct pt_call_total *pt_call_totals(void)
{
    int zero = 0;

    return totals.lookup(&zero);
}

static __always_inline u32 pt_language_call_begins(void *ctx, struct pt_call_total *total)
{
    struct pt_open_key key = {.thread = bpf_get_current_pid_tgid()};
    struct pt_open_call call = {.name = pt_language_number(ctx, PT_NAME)};
    u64 *depth = pt_depths.lookup(&key.thread), first = 1;

    __sync_fetch_and_add(&total->calls, 1);
    if (depth) {
        key.depth = *depth;
        *depth += 1;
    } else if (pt_depths.update(&key.thread, &first)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
        return 1;
    }
    call.ns = bpf_ktime_get_ns(); // last
    if (pt_open_calls.update(&key, &call))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    else
        __sync_fetch_and_add(&total->open, 1);
    return key.depth + 1;
}

// Count the calls on top of the one at "depth" as left.
static __always_inline void pt_leave_calls(struct pt_open_key *key, u64 top, u64 depth,
                                           struct pt_call_total *total)
{
#pragma unroll
    for (u32 above = 0; above < PT_LEFT_MAX; above++) {
        key->depth = top - above;
        if (key->depth <= depth)
            break;
        if (!pt_open_calls.delete(key)) {
            __sync_fetch_and_add(&total->left, 1);
            __sync_fetch_and_add(&total->open, -1);
        }
    }
    key->depth = depth;
}

static __always_inline u32 pt_language_call_ends(void *ctx, struct pt_open_call *call,
                                                 struct pt_call_total *total)
{
    struct pt_open_key key = {.thread = bpf_get_current_pid_tgid()};
    u64 name = pt_language_number(ctx, PT_NAME), *depth = pt_depths.lookup(&key.thread), top;
    struct pt_open_call *entry = 0;

    top = depth ? *depth - 1 : 0;
    if (depth && *depth) {
#pragma unroll
        for (u32 above = 0; above < PT_LEFT_MAX; above++) {
            key.depth = top - above;
            entry = pt_open_calls.lookup(&key);
            if (entry && entry->name == name)
                break;
            entry = 0;
            if (!key.depth)
                break;
        }
    }
    if (!depth || !entry) {
        if (pt_is_current_traced())
            __sync_fetch_and_add(&total->unstarted, 1);
        return 0;
    }
    *call = *entry;
    pt_leave_calls(&key, top, key.depth, total);
    pt_open_calls.delete(&key);
    if (key.depth)
        *depth = key.depth;
    else // the thread may end, and others need its place
        pt_depths.delete(&key.thread);
    __sync_fetch_and_add(&total->returns, 1);
    __sync_fetch_and_add(&total->open, -1);
    return key.depth + 1;
}

int enables(struct pt_regs *ctx)
{
    return pt_pass();
}
