// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each TCP connection when it ends: its owner, its duration, and the bytes that it carried.
#include "config.h"
#include "owners.h"

#include "connection_members.h"
#include "tcp_bytes.h"

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
    event->tx_bytes = pt_tcp_sent(sk);
    event->rx_bytes = pt_tcp_received(sk);
    pt_fill_connection(event, sk, connection);
    pt_submit(ctx, event);
}
