// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long threads wait for a CPU.
#define PT_SEES_WAKEUPS
#include "log2.h"
#include "sched.h"
#include "runq.h"
#include "task_rows.h"

struct row_key {
    PT_TASK_KEY;
#ifdef BY_CPU
    u32 cpu;
#endif
    u32 slot;
};

struct row_value {
    u64 waits;
    u64 total_ns;
    u64 max_ns;
    PT_TASK_NAME;
};
#include "rows.h"

static __always_inline int on_run(void *ctx, struct task_struct *prev, struct task_struct *next, u64 ns)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key_of(&key, next);
#ifdef BY_CPU
    key.cpu = bpf_get_smp_processor_id();
#endif
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
    row->waits++;
    pt_add_time(row, ns);
    pt_fill_task_name_of(row, next);
    return PT_PASS;
}
