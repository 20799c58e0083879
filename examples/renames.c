// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each thread that changes its name.
#include "task.h"

struct event {
    u64 ns; // when it happened: every event begins with it
    u32 pid;
    u32 tid;
    char old[PT_COMM_LEN];
    char new[PT_COMM_LEN];
};
#include "stream.h"

static __always_inline int show(void *ctx, const void *old, const void *new)
{
    u64 id = bpf_get_current_pid_tgid();
    struct event *event;

    if (!pt_is_current_traced())
        return PT_PASS;
    event = pt_reserve();
    if (!event) // the ring is full: pt_reserve has counted the loss
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->pid = id >> 32;
    event->tid = id;
    pt_probe_read_kernel_str(event->old, sizeof(event->old), old);
    pt_probe_read_kernel_str(event->new, sizeof(event->new), new);
    pt_submit(ctx, event);
    return PT_PASS;
}

// The planner defines HOOK_<HOOK>_<ALTERNATIVE> for the alternative it chose.
#if defined(HOOK_RENAME_RAW_TRACEPOINT)
// task_rename(task, comm): raised before the name is changed
int renamed(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];

    return show(ctx, &task->comm, (const void *)ctx->args[1]);
}
#elif defined(HOOK_RENAME_TRACEPOINT)
int renamed(struct tracepoint__task__task_rename *args)
{
    return show(args, args->oldcomm, args->newcomm);
}
#endif
