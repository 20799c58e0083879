// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each process and thread that is created, in the context of its creator.
#include "task.h"

#define PT_CLONE_THREAD 0x10000 // CLONE_THREAD, a macro and so absent from BTF

struct event {
    u64 ns;
    u64 flags;
    u32 pid;
    u32 tid;
    u32 ppid;
    u32 uid;
    u32 child_pid;
    u32 child_tid;
    char comm[PT_COMM_LEN];
    char task[8];
};
#include "stream.h"

static __always_inline int show(void *ctx, u32 child, u64 flags)
{
    int is_thread = !!(flags & PT_CLONE_THREAD);
    struct event *event;

#if defined(PROCESSES)
    if (is_thread)
        return PT_PASS;
#elif defined(THREADS)
    if (!is_thread)
        return PT_PASS;
#endif
    if (!pt_is_current_traced())
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = bpf_ktime_get_ns();
    event->flags = flags;
    pt_fill_task(event);
    event->ppid = pt_current_parent();
    event->uid = bpf_get_current_uid_gid();
    event->child_pid = is_thread ? event->pid : child;
    event->child_tid = child;
    if (is_thread)
        __builtin_memcpy(event->task, "thread", 7);
    else
        __builtin_memcpy(event->task, "process", 8);
    pt_submit(ctx, event);
    return PT_PASS;
}

#if defined(HOOK_NEW_RAW_TRACEPOINT)
// task_newtask(task, clone_flags)
int created(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];

    return show(ctx, pt_read(task->pid), ctx->args[1]);
}
#elif defined(HOOK_NEW_TRACEPOINT)
int created(struct tracepoint__task__task_newtask *args)
{
    return show(args, args->pid, args->clone_flags);
}
#endif
