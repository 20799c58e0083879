// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// An event of 40 bytes for each system call of a process: what streams are measured with.
#include "task.h"

struct event {
    u64 ns;
    u64 call;
    u64 argument;
    u64 spare;
    u32 pid;
    u32 cpu;
};
#include "stream.h"

int enter(struct bpf_raw_tracepoint_args *ctx)
{
    struct event *event;

    if (!pt_is_current_traced())
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->call = ctx->args[1];
    event->argument = 0;
    event->spare = 0;
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->cpu = bpf_get_smp_processor_id();
    pt_submit(ctx, event);
    return PT_PASS;
}
