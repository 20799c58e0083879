// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure collections of garbage, from begin to end in one thread. The tracer knows no language (language.h).
#include "config.h"
#include "language.h"
#include "log2.h"
#include "task_rows.h"

struct pt_results {
    u32 language;
    u32 collection;
};
#define PT_OPEN_MAX 16384
#define PT_PAIR_OF_THREAD
#include "pairs.h"

#ifdef LATENCY
struct row_key {
#ifdef BY_COLLECTION
    u32 language;
    u32 collection;
#endif
    PT_TASK_KEY;
    u32 slot;
};

struct row_value {
    u64 collections;
    u64 total_ns;
    u64 max_ns;
    PT_TASK_NAME;
};
#include "rows.h"
#else
struct event {
    u64 ns;
    u64 latency_ns;
    u32 pid;
    u32 tid;
    u32 language;
    u32 collection;
    char comm[PT_COMM_LEN];
};
#include "stream.h"
#endif

// Parts of a collection that a runtime has probes for are pairs of their own.
static __always_inline void fill_key(void *ctx, struct pt_pair_key *key)
{
    u64 label = pt_language_number(ctx, PT_LABEL);

    key->key = label << 32 | (u32)bpf_get_current_pid_tgid();
}

int begins(struct pt_regs *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    struct pt_pair_key key = {};
    struct pt_start start = {};
    struct pt_total *total;
    int zero = 0;

    total = totals.lookup(&zero);
    if (!total || !pt_is_current_traced())
        return pt_pass();
    fill_key(ctx, &key);
    start.pid = id >> 32;
    start.tid = id;
    start.results.language = pt_language(ctx);
    start.results.collection = pt_language_label(ctx);
    start.ns = bpf_ktime_get_ns(); // last
    pt_pair_begin(&key, &start, total);
    return pt_pass();
}

static __always_inline void on_collection(void *ctx, struct pt_start *start, u64 now)
{
    u64 ns = now - start->ns;
#ifdef LATENCY
    struct row_key key;
    struct row_value *row;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_COLLECTION
    key.language = start->results.language;
    key.collection = start->results.collection;
#endif
    pt_fill_task_key(&key);
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return;
    row->collections++;
    pt_add_time(row, ns);
    pt_fill_task_name(row);
#else
    struct event *event;

    event = pt_reserve();
    if (!event)
        return;
    event->ns = now;
    event->latency_ns = ns;
    pt_fill_task(event);
    event->language = start->results.language;
    event->collection = start->results.collection;
    pt_submit(ctx, event);
#endif
}

int ends(struct pt_regs *ctx)
{
    u64 now = bpf_ktime_get_ns();
    struct pt_pair_key key = {};
    struct pt_start start = {};
    struct pt_total *total;
    int zero = 0;

    total = totals.lookup(&zero);
    if (!total)
        return pt_pass();
    fill_key(ctx, &key);
    if (pt_pair_end(&key, &start, total, now) && now - start.ns >= pt_cfg(PT_CFG_MIN))
        on_collection(ctx, &start, now);
    return pt_pass();
}
