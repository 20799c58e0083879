// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long threads stay on a CPU at a time; with OFF, how long they stay off.
#include "log2.h"
#include "sched.h"
#include "task_rows.h"

// The time since which each task has been on (or off) a CPU, by its address.
BPF_HASH(since, u64, u64, 65536);

struct row_key {
    PT_TASK_KEY;
#ifdef BY_CPU
    u32 cpu;
#endif
    u32 slot;
};

struct row_value {
    u64 stays;
    u64 total_ns;
    u64 max_ns;
    PT_TASK_NAME;
};
#include "rows.h"

static __always_inline void begin_span(struct task_struct *task, u64 now)
{
    u64 key = (u64)task;

    if (pt_read(task->pid) && pt_is_traced(task) && since.update(&key, &now))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

static __always_inline void end_span(struct task_struct *task, u64 now)
{
    u64 task_key = (u64)task, *start = since.lookup(&task_key), ns;
    struct row_value *row;
    struct row_key key;

    if (!start)
        return;
    ns = now - *start;
    since.delete(&task_key);
    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key_of(&key, task);
#ifdef BY_CPU
    key.cpu = bpf_get_smp_processor_id();
#endif
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return;
    row->stays++;
    pt_add_time(row, ns);
    pt_fill_task_name_of(row, task);
}

#ifdef OFF
// A task that has exited does not return to a CPU.
#define TASK_IS_DEAD 0x80

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns(), prev_key = (u64)prev;

    if (pt_state_of(prev) & TASK_IS_DEAD)
        since.delete(&prev_key); // if its last return was not seen: its address will be another task's
    else
        begin_span(prev, now);
    end_span(next, now);
    return PT_PASS;
}
#else
static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns();

    end_span(prev, now);
    begin_span(next, now);
    return PT_PASS;
}
#endif
