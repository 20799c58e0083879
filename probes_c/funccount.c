// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count what the user names: functions, trace events, and other attach targets.
#include "target.h"
#include "task_rows.h"
#include "tracked.h"

struct row_key {
    PT_TASK_KEY;
#ifdef BY_TARGET
    u32 target;
#endif
};

struct row_value {
    u64 count;
    PT_TASK_NAME;
};
#include "rows.h"

// Rows by target alone need no hash.
#if defined(BY_TARGET) && !defined(BY_PID) && !defined(BY_TID) && !defined(BY_COMM)
BPF_PERCPU_ARRAY(dense, struct row_value, PT_TARGETS);

static __always_inline struct row_value *row_of(u32 target)
{
    return dense.lookup(&target);
}
#else
static __always_inline struct row_value *row_of(u32 target)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_TARGET
    key.target = target;
#endif
    pt_fill_task_key(&key);
    row = pt_row(&key);
    if (row)
        pt_fill_task_name(row);
    return row;
}
#endif

int hit(void *ctx)
{
    struct row_value *row;
    u32 target;

    if (pt_is_foreign(ctx) || !pt_is_current_traced())
        return pt_pass();
    target = pt_target(ctx);
    row = target < PT_TARGETS ? row_of(target) : 0;
    if (row)
        row->count++;
    return pt_pass();
}
