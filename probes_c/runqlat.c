// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long threads wait for a CPU.
#define PT_SEES_WAKEUPS
#include "log2.h"
#include "sched.h"
#include "runq.h"

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
    u64 waits;
    u64 total_ns;
    u64 max_ns;
#ifdef BY_PID
    u64 seen; // when, to tell the latest of the per-CPU names
    char comm[PT_COMM_LEN];
#endif
};
#include "rows.h"

static __always_inline int on_run(void *ctx, struct task_struct *prev, struct task_struct *next, u64 ns)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_PID
    key.pid = pt_read(next->tgid);
#endif
#ifdef BY_COMM
    pt_probe_read_kernel(&key.comm, sizeof(key.comm), &next->comm);
#endif
#ifdef BY_CPU
    key.cpu = bpf_get_smp_processor_id();
#endif
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
    row->waits++;
    row->total_ns += ns;
    if (row->max_ns < ns)
        row->max_ns = ns;
#ifdef BY_PID
    struct task_struct *leader = pt_read(next->group_leader);

    row->seen = bpf_ktime_get_ns();
    pt_probe_read_kernel(&row->comm, sizeof(row->comm), &leader->comm);
#endif
    return PT_PASS;
}
