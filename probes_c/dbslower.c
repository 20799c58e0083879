// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show queries of databases as they end.
#include "config.h"
#include "queries.h"

struct event {
    u64 ns;
    u64 latency_ns;
    u32 pid;
    u32 tid;
    u32 server;
    u32 is_failed;
    char comm[PT_COMM_LEN];
    u32 query_len;
    u8 query[PT_QUERY_LEN];
};
#define PT_RECORDS PT_QUERY_PROGRAMS
#include "stream.h"

static __always_inline void on_query(void *ctx, u32 program, struct pt_query *query, u64 ns)
{
    u64 size = query->text_len;
    struct event *event;

    if (ns < pt_cfg(PT_CFG_MIN))
        return;
#ifdef FAILED
    if (!query->is_failed)
        return;
#endif
    event = pt_prepare_in(program);
    if (!event)
        return;
    event->ns = bpf_ktime_get_ns();
    event->latency_ns = ns;
    pt_fill_task(event);
    event->server = query->server;
    event->is_failed = query->is_failed;
    if (query->is_cut)
        pt_lost(PT_LOSS_TRUNCATED);
    pt_opaque(size);
    if (size > PT_QUERY_LEN)
        size = PT_QUERY_LEN;
    pt_probe_read_kernel(event->query, size, query->text);
    event->query_len = size;
    pt_send(ctx, event, offsetof(struct event, query) + size);
}
