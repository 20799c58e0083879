// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show direct reclaims of memory, in the context of the task that reclaims.
#include "config.h"
#include "task.h"

struct event {
    u64 ns;
    u64 pages;
    u64 took_ns;
    u32 pid;
    u32 tid;
    s32 order;
    char comm[PT_COMM_LEN];
    char memory[8];
};
#define PT_RECORDS 2
#include "stream.h"

struct pt_start {
    u64 ns;
    s32 order;
    u32 of_cgroup;
};
#define HOOK_SWITCH_NONE
#include "inflight.h"

static __always_inline int begin(struct bpf_raw_tracepoint_args *ctx, u32 of_cgroup)
{
    struct pt_start start = {.ns = bpf_ktime_get_ns(), .order = ctx->args[0], .of_cgroup = of_cgroup};

    if (pt_is_current_traced())
        pt_begin(&start);
    return PT_PASS;
}

static __always_inline int end(struct bpf_raw_tracepoint_args *ctx)
{
    u64 now = bpf_ktime_get_ns();
    struct pt_start start;
    struct event *event;

    if (!pt_end(&start) || now - start.ns < pt_cfg(PT_CFG_MIN))
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = now;
    event->pages = ctx->args[0];
    event->took_ns = now - start.ns;
    pt_fill_task(event);
    event->order = start.order;
    if (start.of_cgroup)
        __builtin_memcpy(event->memory, "cgroup", 7);
    else
        __builtin_memcpy(event->memory, "machine", 8);
    pt_submit(ctx, event);
    return PT_PASS;
}

// mm_vmscan_direct_reclaim_begin(order, gfp_flags), and mm_vmscan_memcg_reclaim_begin likewise
int direct_begin(struct bpf_raw_tracepoint_args *ctx)
{
    return begin(ctx, 0);
}

int memcg_begin(struct bpf_raw_tracepoint_args *ctx)
{
    return begin(ctx, 1);
}

// mm_vmscan_direct_reclaim_end(nr_reclaimed), and mm_vmscan_memcg_reclaim_end likewise
int direct_end(struct bpf_raw_tracepoint_args *ctx)
{
    return end(ctx);
}

int memcg_end(struct bpf_raw_tracepoint_args *ctx)
{
    return end(ctx);
}
