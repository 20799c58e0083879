// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// How long operations on regular files take, as histograms.
#define PT_TIMED
#include "fsops.h"
#include "log2.h"
#include "task_rows.h"

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

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct row_value *row;
    struct row_key key;
    struct file *file;
    u32 operation = 0;

    if (!pt_is_current_traced())
        return PT_PASS;
    file = pt_operation(call, &operation);
    if (!file)
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_OPERATION
    key.operation = operation;
#endif
#ifdef BY_FS
    pt_filesystem(key.fs, sizeof(key.fs), file);
#endif
    pt_fill_task_key(&key);
    key.slot = pt_bucket(call->ns);
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
    row->operations++;
    row->total_ns += call->ns;
    if (row->max_ns < call->ns)
        row->max_ns = call->ns;
    pt_fill_task_name(row);
    return PT_PASS;
}
