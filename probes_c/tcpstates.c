// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each change of state of TCP sockets, and how long the previous state lasted.
#include "config.h"
#include "owners.h"

#include "connection_members.h"

struct event {
    u64 ns;
    u64 duration_ns;
    u32 old;
    u32 new;
    PT_CONNECTION_MEMBERS;
};
#include "stream.h"

static __always_inline void on_change(void *ctx, struct sock *sk, int old, int new,
                                      struct pt_connection *connection, u64 now)
{
    u64 age_ns = connection->changed_ns ? now - connection->changed_ns : 0;
    struct event *event;

    if (age_ns < pt_cfg(PT_CFG_MIN))
        return;
    event = pt_reserve();
    if (!event) // the ring is full: the loss is counted
        return;
    event->ns = now;
    event->duration_ns = age_ns;
    event->old = old;
    event->new = new;
    pt_fill_connection(event, sk, connection);
    pt_submit(ctx, event);
}
