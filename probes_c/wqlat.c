// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long work items wait and run.
#include "log2.h"
#include "read.h"
#include <linux/workqueue.h>

#define NAME_LEN 32 // WQ_NAME_LEN, 24 before Linux 6.9

struct row_key {
#ifdef BY_FUNCTION
    u64 function;
#endif
#ifdef BY_WORKQUEUE
    char workqueue[NAME_LEN];
#endif
#ifdef BY_CPU
    u32 cpu;
#endif
#ifdef LATENCY
    u32 slot;
#endif
#if !defined(BY_FUNCTION) && !defined(BY_WORKQUEUE) && !defined(BY_CPU) && !defined(LATENCY)
    u32 all;
#endif
};

struct row_value {
    u64 items;
    u64 wait_ns;
    u64 max_wait_ns;
    u64 run_ns;
};
#include "rows.h"

// A queued work item, by its address. It may be freed once it runs, and its address reused.
struct item {
    u64 ns;
    u64 function;
#ifdef BY_WORKQUEUE
    char workqueue[NAME_LEN];
#endif
};
BPF_HASH(queue, u64, struct item, 65536);

// The item that each worker runs, by the worker's task.
struct run {
    u64 ns;
    u64 work;
    struct row_key key;
};
BPF_HASH(running, u64, struct run, 16384);

// workqueue_queue_work(req_cpu, pwq, work)
int queued(struct bpf_raw_tracepoint_args *ctx)
{
    struct work_struct *work = (struct work_struct *)ctx->args[2];
    struct item item = {.ns = bpf_ktime_get_ns()};
    u64 key = (u64)work;

    item.function = (u64)pt_read(work->func);
#ifdef BY_WORKQUEUE
    struct pool_workqueue *pwq = (struct pool_workqueue *)ctx->args[1];
    struct workqueue_struct *wq = pt_read(pwq->wq);

    pt_probe_read_kernel_str(item.workqueue, sizeof(item.workqueue), &wq->name);
#endif
    if (queue.update(&key, &item))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

static __always_inline void make_key(struct row_key *key, struct item *item, u64 waited)
{
    __builtin_memset(key, 0, sizeof(*key));
#ifdef BY_FUNCTION
    key->function = item->function;
#endif
#ifdef BY_WORKQUEUE
    __builtin_memcpy(key->workqueue, item->workqueue, sizeof(key->workqueue));
#endif
#ifdef BY_CPU
    key->cpu = bpf_get_smp_processor_id();
#endif
#ifdef LATENCY
    key->slot = pt_bucket(waited);
#endif
}

// workqueue_execute_start(work), in the worker
int started(struct bpf_raw_tracepoint_args *ctx)
{
    u64 work = ctx->args[0], worker = bpf_get_current_task(), waited;
    struct run run = {.ns = bpf_ktime_get_ns(), .work = work};
    struct item *item = queue.lookup(&work);
    struct row_value *row;

    if (!item)
        return PT_PASS;
    waited = run.ns - item->ns;
    make_key(&run.key, item, waited);
    queue.delete(&work);
    row = pt_row(&run.key);
    if (row) {
        row->items++;
        row->wait_ns += waited;
        if (row->max_wait_ns < waited)
            row->max_wait_ns = waited;
    }
#ifndef LATENCY
    if (running.update(&worker, &run))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
#endif
    return PT_PASS;
}

// workqueue_execute_end(work, function), in the worker. The item may have been freed: it is only compared.
int ended(struct bpf_raw_tracepoint_args *ctx)
{
    u64 worker = bpf_get_current_task(), now = bpf_ktime_get_ns();
    struct run *run = running.lookup(&worker);
    struct row_value *row;

    if (!run)
        return PT_PASS;
    row = run->work == ctx->args[0] ? pt_row(&run->key) : 0;
    if (row)
        row->run_ns += now - run->ns;
    running.delete(&worker);
    return PT_PASS;
}
