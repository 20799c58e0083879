// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show passes of writeback: the device, the reason, the pages, the duration.
//
// A pass runs in a kernel worker, which did not dirty the pages, so no process is named.
#include "config.h"
#include "task.h"
#include "cgroup_id.h"
#include <linux/backing-dev-defs.h>
#include <linux/writeback.h>

struct event {
    u64 ns;
    s64 pages;
    u64 took_ns;
    u64 cgroup; // 0: unknown
    u32 reason; // enum wb_reason
    u32 is_sync;
    char device[32];
};
#include "stream.h"

struct pt_start {
    u64 ns;
    s64 pages; // that are still to be written
};
#define HOOK_SWITCH_NONE
#include "inflight.h"

static __always_inline int begin(s64 pages)
{
    struct pt_start start = {.ns = bpf_ktime_get_ns(), .pages = pages};

    pt_begin(&start);
    return PT_PASS;
}

// Return the event to fill, or 0; "pages" are those that were not written.
static __always_inline struct event *end(s64 pages)
{
    struct pt_start start;
    struct event *event;
    u64 now = bpf_ktime_get_ns();

    if (!pt_end(&start) || now - start.ns < pt_cfg(PT_CFG_MIN) ||
        start.pages - pages < (s64)pt_cfg(PT_CFG_MIN_PAGES))
        return 0;
    event = pt_reserve();
    if (!event)
        return 0;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = now;
    event->pages = start.pages - pages;
    event->took_ns = now - start.ns;
    return event;
}

#if defined(HOOK_WRITEBACK_RAW_TRACEPOINT)
#ifdef PT_PACKAGED_HEADERS
#error "this kernel has the work of writeback in its BTF alone: try --hook writeback=tracepoint"
#endif
// writeback_start(wb, work), and writeback_written likewise
int started(struct bpf_raw_tracepoint_args *ctx)
{
    struct wb_writeback_work *work = (struct wb_writeback_work *)ctx->args[1];

    return begin(pt_read(work->nr_pages));
}

int written(struct bpf_raw_tracepoint_args *ctx)
{
    struct bdi_writeback *wb = (struct bdi_writeback *)ctx->args[0];
    struct wb_writeback_work *work = (struct wb_writeback_work *)ctx->args[1];
    struct event *event = end(pt_read(work->nr_pages));
    struct backing_dev_info *bdi;

    if (!event)
        return PT_PASS;
    event->reason = pt_read(work->reason);
    event->is_sync = pt_read(work->sync_mode) == WB_SYNC_ALL;
    bdi = pt_read(wb->bdi);
    pt_probe_read_kernel_str(event->device, sizeof(event->device), bdi->dev_name);
#if PT_HAS_bdi_writeback__memcg_css
    struct cgroup_subsys_state *css = pt_read(wb->memcg_css);

    event->cgroup = pt_id_of_cgroup(pt_read(css->cgroup));
#endif
    pt_submit(ctx, event);
    return PT_PASS;
}
#elif defined(HOOK_WRITEBACK_TRACEPOINT)
int started(struct tracepoint__writeback__writeback_start *args)
{
    return begin(args->nr_pages);
}

int written(struct tracepoint__writeback__writeback_written *args)
{
    struct event *event = end(args->nr_pages);

    if (!event)
        return PT_PASS;
    event->reason = args->reason;
    event->is_sync = args->sync_mode == WB_SYNC_ALL;
    event->cgroup = args->cgroup_ino;
    pt_probe_read_kernel_str(event->device, sizeof(event->device), args->name);
    pt_submit(args, event);
    return PT_PASS;
}
#endif
