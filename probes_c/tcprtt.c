// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure the round-trip time of TCP connections, at each received segment.
#define PT_SLOTS
#include "log2.h"
#include "owners.h"

#include "connection_rows.h"
#include <linux/tcp.h>

struct row_value {
    u64 segments;
    u64 total_ns;
    u64 max_ns;
};
#include "rows.h"

static __always_inline void on_change(void *ctx, struct sock *sk, int old, int new,
                                      struct pt_connection *connection, u64 now)
{
}

static __always_inline int on_segment(struct sock *sk)
{
    u64 ns = (pt_read(((struct tcp_sock *)sk)->srtt_us) >> 3) * 1000ULL;
    struct pt_connection connection;
    struct row_value *row;
    struct row_key key;

    if (!ns || !pt_find_connection(sk, &connection)) // there is no estimate yet
        return PT_PASS;
    pt_fill_row_key(&key, sk, connection.pid, connection.comm);
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (row) {
        row->segments++;
        pt_add_time(row, ns);
    }
    return PT_PASS;
}

#if defined(HOOK_TCP_SEGMENT_RAW_TRACEPOINT)
int received(struct bpf_raw_tracepoint_args *ctx)
{
    return on_segment((struct sock *)ctx->args[0]);
}
#elif defined(HOOK_TCP_SEGMENT_KPROBE)
int received(struct pt_regs *ctx)
{
    return on_segment((struct sock *)PT_REGS_PARM1(ctx));
}
#endif
