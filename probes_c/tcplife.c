// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each TCP connection when it ends: its owner, its duration, and the bytes that it carried.
#include "config.h"
#include "owners.h"

#include "connection_members.h"
#include <linux/tcp.h>

#define PT_FIN_CAME 1 // SOCK_DONE of enum sock_flags

struct event {
    u64 ns;
    u64 tx_bytes;
    u64 rx_bytes;
    u64 duration_ns;
    PT_CONNECTION_MEMBERS;
};
#include "stream.h"

static __always_inline void on_change(void *ctx, struct sock *sk, int old, int new,
                                      struct pt_connection *connection, u64 now)
{
    struct tcp_sock *tp = (struct tcp_sock *)sk;
    u64 age_ns = connection->opened_ns ? now - connection->opened_ns : 0;
    struct event *event;

    // A connection that was never established is not shown.
    if (new != TCP_CLOSE || old == TCP_SYN_SENT || old == TCP_SYN_RECV || old == TCP_LISTEN)
        return;
    if (age_ns < pt_cfg(PT_CFG_MIN))
        return;
    event = pt_reserve();
    if (!event) // the ring is full: the loss is counted
        return;
    event->ns = now;
    event->duration_ns = age_ns;
    // Only payload: bytes_acked includes SYN and FIN, bytes_received includes a FIN.
    event->tx_bytes = pt_read(tp->bytes_sent) - pt_read(tp->bytes_retrans);
    event->rx_bytes = pt_read(tp->bytes_received) - (pt_read(sk->__sk_common.skc_flags) >> PT_FIN_CAME & 1);
    pt_fill_connection(event, sk, connection);
    pt_submit(ctx, event);
}
