// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// What is asked of functions, trace events and probes in programs, whenever they happen: a record each.
// asked.h is written for each run (src/pytracer/ask).
#include "ask.h"

struct event {
    u64 ns;
    u32 pid;
    u32 tid;
    u32 target;
    char comm[PT_COMM_LEN];
    struct pt_answers answers;
};
#include "stream.h"
#include "asked.h"

static __always_inline int pt_asked(void *ctx, u32 which)
{
    u64 id = bpf_get_current_pid_tgid();
    u32 target = pt_target(ctx);
    struct pt_call call = {};
    struct event *event;

    if (pt_unseen(ctx, which, &call) || pt_task() != PT_YES)
        return pt_pass();
    if (!pt_wanted(ctx, which, target, &call))
        return pt_pass();
    event = pt_reserve();
    if (!event)
        return pt_pass();
    event->ns = bpf_ktime_get_ns();
    event->pid = id >> 32;
    event->tid = id;
    event->target = target;
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
    pt_answer(ctx, which, target, &call, &event->answers);
    pt_submit(ctx, event);
    return pt_pass();
}
