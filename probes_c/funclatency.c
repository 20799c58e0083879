// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long functions take, from entry to return.
#include "log2.h"
#include "task_rows.h"

struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
};
#include "calls.h"

struct row_key {
    PT_TASK_KEY;
#ifdef BY_TARGET
    u32 target;
#endif
    u32 slot;
};

struct row_value {
    u64 calls;
    u64 total_ns;
    u64 max_ns;
    PT_TASK_NAME;
};
#include "rows.h"

int begins(void *ctx)
{
    struct pt_call call = {};

    if (pt_may_trace_current())
        pt_call_enter(ctx, &call);
    return pt_pass();
}

int returns(void *ctx)
{
    struct row_value *row;
    struct row_key key;
    struct pt_call call;
    u64 ns;

    // The command's own execve begins before it is traced and ends after.
    if (!pt_call_exit(ctx, &call, &ns) || pt_followed() != PT_TRACED)
        return pt_pass();
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_TARGET
    key.target = pt_target(ctx);
#endif
    pt_fill_task_key(&key);
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return pt_pass();
    row->calls++;
    pt_add_time(row, ns);
    pt_fill_task_name(row);
    return pt_pass();
}
