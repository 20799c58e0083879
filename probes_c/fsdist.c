// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long operations on regular files take, as histograms.
#include "task_rows.h"

#include "fsops.h"
#include "log2.h"

struct row_key {
#ifdef BY_OPERATION
    u32 operation;
#endif
#ifdef BY_FS
    char fs[16];
#endif
    PT_TASK_KEY;
    u32 slot;
};

struct row_value {
    u64 operations;
    u64 total_ns;
    u64 max_ns;
    PT_TASK_NAME;
};
#include "rows.h"

// Count an operation that took "ns". "request": by io_uring, for a process that may not be running; else by the current
// task.
static __always_inline void count(struct file *file, u32 operation, u64 ns, struct pt_request *request)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_OPERATION
    key.operation = operation;
#endif
#ifdef BY_FS
    pt_filesystem(key.fs, sizeof(key.fs), file);
#endif
    if (request)
        pt_fill_known_key(&key, request->pid, request->comm);
    else
        pt_fill_task_key(&key);
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return;
    row->operations++;
    pt_add_time(row, ns);
    if (request)
        pt_fill_known_name(row, request->comm);
    else
        pt_fill_task_name(row);
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct file *file;
    u32 operation = 0;

    if (!pt_is_current_traced())
        return PT_PASS;
    file = pt_operation(call, &operation);
    if (file)
        count(file, operation, call->ns, 0);
    return PT_PASS;
}

#ifdef PT_SEES_RING_FILES
static __always_inline void on_ring_file(void *ctx, struct pt_request *request, enum pt_ring_kind kind,
                                         struct file *file, u64 ns, s64 result)
{
    u32 operation;

    if (pt_ring_operation(kind, file, ns, result, &operation))
        count(file, operation, ns, request);
}
#endif
