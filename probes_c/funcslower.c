// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show calls of functions that take longer than a threshold, as they return.
#include "config.h"
#include "task.h"

#define ARGS 6 // as many as registers hold

struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
#ifdef WITH_ARGS
    u64 args[ARGS];
#endif
};
#include "calls.h"

struct event {
    u64 ns;
    u64 latency_ns;
    u64 returned;
    u32 target;
    u32 pid;
    u32 tid;
    u32 args_len; // in bytes
    u8 args[8 * ARGS];
    char comm[PT_COMM_LEN];
};
#include "stream.h"

int begins(void *ctx)
{
    struct pt_call call = {};

    if (!pt_may_trace_current())
        return pt_pass();
#ifdef WITH_ARGS
    pt_read_arguments(ctx, call.args);
#endif
    pt_call_enter(ctx, &call);
    return pt_pass();
}

int returns(void *ctx)
{
    u64 ns;
    struct pt_call call = {};
    struct event *event;

    // The command's own execve begins before it is traced and ends after.
    if (!pt_call_exit(ctx, &call, &ns) || ns < pt_cfg(PT_CFG_MIN) || pt_followed() != PT_TRACED)
        return pt_pass();
    event = pt_reserve();
    if (!event)
        return pt_pass();
    event->ns = call.ns + ns;
    event->latency_ns = ns;
    event->returned = pt_return_value(ctx);
    event->target = pt_target(ctx);
    pt_fill_task(event);
    event->args_len = 0;
    __builtin_memset(event->args, 0, sizeof(event->args));
#ifdef WITH_ARGS
    event->args_len = 8 * pt_argument_count();
    __builtin_memcpy(event->args, call.args, sizeof(event->args));
#endif
    pt_submit(ctx, event);
    return pt_pass();
}
