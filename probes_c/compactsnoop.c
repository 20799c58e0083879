// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show compactions of memory zones, in the task that compacts.
#include "config.h"
#include "task.h"

struct event {
    u64 ns;
    u64 took_ns;
    u32 pid;
    u32 tid;
    s32 node; // -1: unknown
    s32 zone; // -1: unknown
    s32 order;
    s32 result;
    char mode[8];
    char comm[PT_COMM_LEN];
};
#include "stream.h"

struct pt_start {
    u64 ns;
    s32 node;
    s32 zone;
    s32 order;
    u32 is_sync;
};
#define HOOK_SWITCH_NONE
#include "inflight.h"

int begun(struct tracepoint__compaction__mm_compaction_begin *args)
{
    struct pt_start start = {
        .ns = bpf_ktime_get_ns(), .node = -1, .zone = -1, .order = -1, .is_sync = args->sync};

    if (pt_is_current_traced())
        pt_begin(&start);
    return PT_PASS;
}

// The kernel checks at least once whether a compaction has finished. Unlike the two events around it, this event has
// the zone and the order on every kernel.
int looked(struct tracepoint__compaction__mm_compaction_finished *args)
{
    u64 task = bpf_get_current_task();
    struct pt_start *start = starts.lookup(&task);

    if (start) {
        start->node = args->nid;
        start->zone = args->idx;
        start->order = args->order;
    }
    return PT_PASS;
}

int ended(struct tracepoint__compaction__mm_compaction_end *args)
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
    event->took_ns = now - start.ns;
    pt_fill_task(event);
    event->node = start.node;
    event->zone = start.zone;
    event->order = start.order;
    event->result = args->status;
    if (start.is_sync)
        __builtin_memcpy(event->mode, "sync", 5);
    else
        __builtin_memcpy(event->mode, "async", 6);
    pt_submit(args, event);
    return PT_PASS;
}
