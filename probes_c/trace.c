// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each event of a probe spec: calls of functions, trace events, USDT probes.
// generated_specs.h is generated for each run (src/pytracer/lang/codegen.py).
#include "probe_specs.h"

struct event {
    u64 ns;
    u32 pid;
    u32 tid;
    u32 target;
    char comm[PT_COMM_LEN];
    struct pt_results results;
};
#include "stream.h"
#include "generated_specs.h"

static __always_inline int pt_on_spec(void *ctx, u32 program)
{
    u32 target = pt_target(ctx);
    struct pt_call call = {};
    struct event *event;

    if (pt_spec_skips_return(ctx, program, &call) || !pt_is_current_traced())
        return pt_pass();
    if (!pt_spec_matches(ctx, program, target, &call))
        return pt_pass();
    event = pt_reserve();
    if (!event)
        return pt_pass();
    event->ns = bpf_ktime_get_ns();
    pt_fill_task(event);
    event->target = target;
    pt_spec_evaluate(ctx, program, target, &call, &event->results);
    pt_submit(ctx, event);
    return pt_pass();
}
