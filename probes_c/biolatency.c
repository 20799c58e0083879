// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long requests to disks take.
//
// A request is counted once it is complete. Its start is stored by its address: the kernel allocates a disk's requests
// once and reuses them, so requests that never complete are few.
#include "log2.h"
#include "loss.h"

struct pt_request;
static int on_insert(void *ctx, struct pt_request *request);
static int on_merge(void *ctx, struct pt_request *request);
static int on_issue(void *ctx, struct pt_request *request);
static int on_complete(void *ctx, struct pt_request *request, u32 disk, u32 operation);
#include "block.h"

BPF_HASH(starts, struct pt_request, u64, 65536);

struct row_key {
#ifdef BY_DISK
    u32 disk; // dev_t
#endif
#ifdef BY_OPERATION
    u32 operation; // enum req_op, or PT_OTHER_OPERATION
#endif
    u32 slot;
};

struct row_value {
    u64 requests;
    u64 total_ns;
    u64 max_ns;
};
#include "rows.h"

static __always_inline int on_insert(void *ctx, struct pt_request *request)
{
    u64 now = bpf_ktime_get_ns();

    if (starts.update(request, &now))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

// A request that was merged into another one is reused without a completion.
static __always_inline int on_merge(void *ctx, struct pt_request *request)
{
    starts.delete(request);
    return PT_PASS;
}

// A queued request began when it was queued. A request that goes straight to the driver was not queued.
static __always_inline int on_issue(void *ctx, struct pt_request *request)
{
#ifdef QUEUED
    if (starts.lookup(request))
        return PT_PASS;
#endif
    return on_insert(ctx, request);
}

static __always_inline int on_complete(void *ctx, struct pt_request *request, u32 disk, u32 operation)
{
    u64 *start = starts.lookup(request), ns;
    struct row_value *row;
    struct row_key key = {};

    if (!start)
        return PT_PASS;
    ns = bpf_ktime_get_ns() - *start;
    starts.delete(request);
#ifdef BY_DISK
    key.disk = disk;
#endif
#ifdef BY_OPERATION
    key.operation = operation;
#endif
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (row) {
        row->requests++;
        pt_add_time(row, ns);
    }
    return PT_PASS;
}
