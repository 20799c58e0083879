// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show calls of functions in programs of languages as they nest: a line at each call and each return.
#include "config.h"
#include "language.h"
#include "task.h"

#define UNKNOWN (~0ULL)

struct event {
    u64 ns;
    u64 latency_ns; // UNKNOWN at a call, and at a return whose call was not seen
    u32 pid;
    u32 tid;
    u32 depth; // 0 if the call was not seen
    u32 returned;
    u32 nesting; // depth << 1 | returned
    u32 language;
    u32 line; // 0: the probe does not say
    char comm[PT_COMM_LEN];
    char function[64];
    char scope[128];
};
// Each program builds its event in memory of its own, since another one may preempt it.
#define PT_RECORDS 2
#include "stream.h"
#include "language_calls.h"

static __always_inline void show(void *ctx, u32 depth, u32 returned, u64 now, u64 latency_ns)
{
    struct event *event;

    if (depth > pt_cfg(PT_CFG_DEPTH))
        return;
    event = pt_prepare_in(returned);
    if (!event)
        return;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = now;
    event->latency_ns = latency_ns;
    pt_fill_task(event);
    event->depth = depth;
    event->returned = returned;
    event->nesting = depth << 1 | returned;
    event->language = pt_language(ctx);
    event->line = pt_language_number(ctx, PT_LINE);
    pt_language_text(ctx, PT_NAME, event->function, sizeof(event->function));
    pt_language_text(ctx, PT_SCOPE, event->scope, sizeof(event->scope));
    pt_send(ctx, event, sizeof(*event));
}

int begins(struct pt_regs *ctx)
{
    struct pt_call_total *total = pt_call_totals();

    if (total && pt_is_current_traced())
        show(ctx, pt_language_call_begins(ctx, total), 0, bpf_ktime_get_ns(), UNKNOWN);
    return pt_pass();
}

int ends(struct pt_regs *ctx)
{
    u64 now = bpf_ktime_get_ns();
    struct pt_call_total *total = pt_call_totals();
    struct pt_open_call call = {};
    u32 depth;

    if (!total)
        return pt_pass();
    depth = pt_language_call_ends(ctx, &call, total);
    if (depth)
        show(ctx, depth, 1, now, now - call.ns);
    else if (pt_is_current_traced())
        show(ctx, 0, 1, now, UNKNOWN);
    return pt_pass();
}
