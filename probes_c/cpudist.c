// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long threads stay on a CPU at a time; with OFF, how long they stay off.
#include "log2.h"
#include "sched.h"

// Since when each task has been on (or off) a CPU, by its address.
BPF_HASH(since, u64, u64, 65536);

struct row_key {
#ifdef BY_PID
    u32 pid;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
#ifdef BY_CPU
    u32 cpu;
#endif
    u32 slot;
};

struct row_value {
    u64 stays;
    u64 total_ns;
    u64 max_ns;
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

static __always_inline void begins(struct task_struct *task, u64 now)
{
    u64 key = (u64)task;

    if (pt_read(task->pid) && pt_is_traced(task) && since.update(&key, &now))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

static __always_inline void ends(struct task_struct *task, u64 now)
{
    u64 at = (u64)task, *begun = since.lookup(&at), ns;
    struct row_value *row;
    struct row_key key;

    if (!begun)
        return;
    ns = now - *begun;
    since.delete(&at);
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_PID
    key.pid = pt_read(task->tgid);
#endif
#ifdef BY_COMM
    pt_probe_read_kernel(&key.comm, sizeof(key.comm), &task->comm);
#endif
#ifdef BY_CPU
    key.cpu = bpf_get_smp_processor_id();
#endif
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return;
    row->stays++;
    row->total_ns += ns;
    if (row->max_ns < ns)
        row->max_ns = ns;
#ifdef BY_PID
    struct task_struct *leader = pt_read(task->group_leader);

    row->seen = now;
    pt_probe_read_kernel(&row->comm, sizeof(row->comm), &leader->comm);
#endif
}

#ifdef OFF
// A task that has ended does not come back.
#define TASK_IS_DEAD 0x80

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns();

    if (!(pt_state_of(prev) & TASK_IS_DEAD))
        begins(prev, now);
    ends(next, now);
    return PT_PASS;
}
#else
static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns();

    ends(prev, now);
    begins(next, now);
    return PT_PASS;
}
#endif
