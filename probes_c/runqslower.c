// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each wait for a CPU that takes long.
#define PT_SEES_WAKEUPS
#include "config.h"
#include "sched.h"
#include "runq.h"

struct event {
    u64 ns;
    u64 wait_ns;
    u32 pid;
    u32 tid;
    u32 cpu;
    u32 prev_tid;
    char comm[PT_COMM_LEN];
    char prev_comm[PT_COMM_LEN];
};
#include "stream.h"

static __always_inline int on_run(void *ctx, struct task_struct *prev, struct task_struct *next, u64 ns)
{
    struct event *event;

    if (ns < pt_cfg(PT_CFG_MIN))
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->wait_ns = ns;
    event->pid = pt_read(next->tgid);
    event->tid = pt_read(next->pid);
    event->cpu = bpf_get_smp_processor_id();
    event->prev_tid = pt_read(prev->pid);
    pt_probe_read_kernel(&event->comm, sizeof(event->comm), &next->comm);
    pt_probe_read_kernel(&event->prev_comm, sizeof(event->prev_comm), &prev->comm);
    pt_submit(ctx, event);
    return PT_PASS;
}
