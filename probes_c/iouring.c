// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count operations of io_uring as they are submitted and completed, and measure the time between.
#include "log2.h"
#include "io_uring.h"
#include "ringfds.h"

struct row_key {
#ifdef BY_PID
    u32 pid;
#endif
#ifdef BY_OPERATION
    u32 operation;
#endif
#ifdef BY_RING
    s32 ring;
#endif
#ifdef LATENCY
    u32 slot;
#endif
};

struct row_value {
    u64 submitted;
    u64 completed;
    u64 failed;
    u64 more;
    u64 timed;
    u64 total_ns;
    u64 max_ns;
    u64 skipped;
    u64 fixed;
    u64 polled;
#ifdef BY_PID
    u64 seen; // the time of the last update: the newest of the per-CPU names is shown
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

static __always_inline struct row_value *row_of(struct pt_request *request, u64 now, u64 ns)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_PID
    key.pid = request->pid;
#endif
#ifdef BY_OPERATION
    key.operation = request->operation;
#endif
#ifdef BY_RING
    key.ring = pt_ring_fd(request->ring);
#endif
#ifdef LATENCY
    key.slot = pt_bucket(ns);
#endif
    row = pt_row(&key);
#ifdef BY_PID
    if (row) {
        row->seen = now;
        __builtin_memcpy(row->comm, request->comm, sizeof(row->comm));
    }
#endif
    return row;
}

static __always_inline void on_submit(struct pt_request *request, u32 flags, int is_polled)
{
#ifndef LATENCY
    struct row_value *row = row_of(request, request->ns, 0);

    if (!row)
        return;
    row->submitted++;
    row->skipped += !!(flags & PT_RING_SKIPS);
    row->fixed += !!(flags & PT_RING_FIXED);
    row->polled += !!is_polled;
#endif
}

static __always_inline void on_complete(void *ctx, struct pt_request *request, int is_more, u64 ns, u64 now,
                                        s64 result)
{
    struct row_value *row;

#ifdef LATENCY
    if (!ns)
        return;
#endif
    row = row_of(request, now, ns);
    if (!row)
        return;
    row->completed += !is_more;
    row->more += is_more;
    row->failed += result < 0;
    row->timed += !!ns;
    pt_add_time(row, ns);
}
