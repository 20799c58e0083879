// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each process that is killed because memory has run out. The programs run in the task that asked for memory.
#include "task.h"
#include "cgroup_id.h"
#include "other_task.h"
#include <linux/cred.h>
#include <linux/mm_types.h>

struct event {
    u64 ns;
    u64 vm_pages; // 0: unknown, like the rest of the victim
    u64 cgroup;
    u32 pid;
    u32 victim_pid;
    u32 victim_tid;
    u32 victim_uid;
    s32 oom_score_adj;
    char comm[PT_COMM_LEN];
    char victim_comm[PT_COMM_LEN];
};
#include "stream.h"

static __always_inline void of_victim(struct event *event, struct task_struct *task)
{
    struct cred *cred = (struct cred *)pt_read(task->real_cred);
    struct signal_struct *signal = pt_read(task->signal);
    struct task_struct *leader = pt_read(task->group_leader);
    struct css_set *set = pt_read(task->cgroups);
    struct cgroup *cgroup = pt_read(set->dfl_cgrp);
    struct mm_struct *mm = pt_read(task->mm);

    event->victim_pid = pt_read(task->tgid);
    event->victim_tid = pt_read(task->pid);
    pt_probe_read_kernel(event->victim_comm, sizeof(event->victim_comm), &leader->comm);
    event->victim_uid = pt_read(cred->uid.val);
    event->oom_score_adj = pt_read(signal->oom_score_adj);
    event->vm_pages = mm ? pt_read(mm->total_vm) : 0;
    event->cgroup = pt_id_of_cgroup(cgroup);
}

static __always_inline int show(void *ctx, struct task_struct *task, u32 tid)
{
    int is_wanted = pt_is_current_traced();
    struct event *event;

    if (!is_wanted && !(task && pt_is_traced(task)))
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = bpf_ktime_get_ns();
    event->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
    event->victim_tid = tid;
    event->victim_uid = ~0U;
    event->oom_score_adj = 0x7fff;
    if (task)
        of_victim(event, task);
    pt_submit(ctx, event);
    return PT_PASS;
}

#if defined(HOOK_VICTIM_RAW_TRACEPOINT)
// mark_victim(task, uid)
int marked(struct bpf_raw_tracepoint_args *ctx)
{
    return show(ctx, (struct task_struct *)ctx->args[0], 0);
}
#elif defined(HOOK_VICTIM_KPROBE)
// The victim that each task is marking. A victim that is marked already raises no event.
BPF_TABLE("lru_hash", u64, u64, chosen_by, 1024);

// mark_oom_victim(task)
int chosen(struct pt_regs *ctx)
{
    u64 marking = bpf_get_current_task(), task = PT_REGS_PARM1(ctx);

    if (chosen_by.update(&marking, &task))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

// mark_victim(pid), raised in that function
int marked(struct bpf_raw_tracepoint_args *ctx)
{
    u64 marking = bpf_get_current_task(), *task = chosen_by.lookup(&marking);

    return show(ctx, task ? (struct task_struct *)*task : 0, ctx->args[0]);
}
#elif defined(HOOK_VICTIM_RAW_TRACEPOINT_PID)
// mark_victim(pid)
int marked(struct bpf_raw_tracepoint_args *ctx)
{
    return show(ctx, 0, ctx->args[0]);
}
#endif
