// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// List all threads: their state, and their kernel stack.
#define DEPTH 64

struct event {
    u64 ns;
    u32 pid;
    u32 tid;
    u32 state;
    u32 frames_len;
    u64 frames[DEPTH]; // innermost first
    char comm[16];
};
#include "listing.h"

// Declared under another name, as in listing.h.
static long (*pt_get_task_stack)(void *task, void *to, u32 size, u64 flags) = (void *)141;

static __always_inline u32 state_of(struct task_struct *task)
{
#ifdef HOOK_TASKS_ITERATOR
    return pt_read(task->__state);
#else
    long state = 0; // volatile, and larger, before Linux 5.14 gave it another name (2f064a59a11f)

    pt_probe_read_kernel(&state, sizeof(state), (void *)&task->state);
    return state;
#endif
}

// bpf_iter_task(meta, task)
int listed(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[1];
    struct event *event;
    long size;

    if (!task || !pt_is_traced(task)) // 0 at the end
        return 0;
    event = pt_prepare();
    if (!event)
        return 0;
    event->ns = bpf_ktime_get_ns();
    event->pid = pt_read(task->tgid);
    event->tid = pt_read(task->pid);
    event->state = state_of(task) | pt_read(task->exit_state);
    size = pt_get_task_stack(task, event->frames, sizeof(event->frames), 0);
    event->frames_len = size > 0 ? size / sizeof(u64) : 0;
    pt_probe_read_kernel(event->comm, sizeof(event->comm), &task->comm);
    pt_list(ctx, event, sizeof(*event));
    return 0;
}
