// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show how long it takes to establish TCP connections.
#include "config.h"
#include "owners.h"

#include "connection_members.h"

struct event {
    u64 ns;
    u64 latency_ns;
    PT_CONNECTION_MEMBERS;
};
#include "stream.h"

static __always_inline void on_change(void *ctx, struct sock *sk, int old, int new,
                                      struct pt_connection *connection, u64 now)
{
    struct event *event;

    if (old != TCP_SYN_SENT || new != TCP_ESTABLISHED || !connection->changed_ns)
        return;
    if (now - connection->changed_ns < pt_cfg(PT_CFG_MIN))
        return;
    event = pt_reserve();
    if (!event) // the ring is full: the loss is counted
        return;
    event->ns = now;
    event->latency_ns = now - connection->changed_ns;
    pt_fill_connection(event, sk, connection);
    pt_submit(ctx, event);
}
