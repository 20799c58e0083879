// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count moves of threads and pages between memory nodes.
#include "other_task.h"
#include "task_rows.h"

#define THREAD_MOVE (1 << 16) // reasons above enum migrate_reason
#define THREAD_SWAP (THREAD_MOVE + 1)
#define COMPACTION  0 // MR_COMPACTION

struct row_key {
    PT_TASK_KEY;
#ifdef BY_CAUSE
    u32 cause;
#endif
};

struct row_value {
    u64 attempts;
    u64 failed;
    PT_TASK_NAME;
};
#include "rows.h"

static __always_inline void count(struct task_struct *task, u32 cause, u64 attempts, u64 failed)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key_of(&key, task);
#ifdef BY_CAUSE
    key.cause = cause;
#endif
    row = pt_row(&key);
    if (!row)
        return;
    row->attempts += attempts;
    row->failed += failed;
    pt_fill_task_name_of(row, task);
}

// sched_move_numa(task, src_cpu, dst_cpu), before the attempt
int move(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];

    if (pt_is_traced(task))
        count(task, THREAD_MOVE, 1, 0);
    return PT_PASS;
}

#undef swap // a macro of packaged headers
// sched_swap_numa(src_task, src_cpu, dst_task, dst_cpu): both are moved
int swap(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    struct task_struct *other = (struct task_struct *)ctx->args[2];

    if (pt_is_traced(task))
        count(task, THREAD_SWAP, 1, 0);
    if (pt_is_traced(other))
        count(other, THREAD_SWAP, 1, 0);
    return PT_PASS;
}

// sched_stick_numa(src_task, src_cpu, dst_task, dst_cpu): after one of the above has failed, or (without a destination)
// as no CPU is better
int stick(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    struct task_struct *other = (struct task_struct *)ctx->args[2];
    int is_tried = (s32)ctx->args[3] >= 0;

    if (pt_is_traced(task))
        count(task, other ? THREAD_SWAP : THREAD_MOVE, !is_tried, 1);
    if (other && pt_is_traced(other))
        count(other, THREAD_SWAP, 0, 1);
    return PT_PASS;
}

// In the task that moves the pages.
int migrated(struct tracepoint__migrate__mm_migrate_pages *args)
{
    u64 succeeded = args->succeeded, failed = args->failed;

    if (args->reason != COMPACTION && succeeded + failed && pt_is_current_traced())
        count(pt_current(), args->reason, succeeded + failed, failed);
    return PT_PASS;
}
