// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Events of TCP connections, one by one or (COUNT) counted by row. Include tcp.h and stream.h, with struct event, before
// it.
//
//     void emit(void *ctx, struct sock *sk, u64 type, struct connection *connection, u64 now)
//                                               shows or counts an event, if options select it
#include "tcp_bytes.h"

#ifdef COUNT
#include "connection_rows.h"

struct row_value {
    u64 connects;
    u64 accepts;
    u64 closes;
    u64 fails;
    u64 tx_bytes;
    u64 rx_bytes;
};
#include "rows.h"
#endif

enum type { CONNECT, ACCEPT, CLOSE, FAIL };

struct connection {
    u64 ns; // when it was opened, or began to be; 0 if that was before the trace
    u32 pid;
    u32 open;
    char comm[PT_COMM_LEN];
};

// Payload that was sent, and that is to be sent before the connection ends.
static __always_inline u64 sent(struct sock *sk)
{
    struct tcp_sock *tp = (struct tcp_sock *)sk;

    return pt_tcp_sent(sk) + (u32)(pt_read(tp->write_seq) - pt_read(tp->snd_nxt));
}

static __always_inline int is_selected(struct sock *sk, u64 type)
{
    u64 port = pt_cfg(PT_CFG_PORT);

    return pt_is_shown(type) && (!port || pt_source_port(sk) == port || pt_target_port(sk) == port);
}

#ifdef COUNT
static __always_inline void emit(void *ctx, struct sock *sk, u64 type, struct connection *connection, u64 now)
{
    struct row_value *row;
    struct row_key key;

    if (!is_selected(sk, type))
        return;
    pt_fill_row_key(&key, sk, connection->pid, connection->comm);
    row = pt_row(&key);
    if (!row)
        return;
    row->connects += type == CONNECT;
    row->accepts += type == ACCEPT;
    row->fails += type == FAIL;
    if (type != CLOSE)
        return;
    row->closes++;
    row->tx_bytes += sent(sk);
    row->rx_bytes += pt_tcp_received(sk);
}
#else
static __always_inline void emit(void *ctx, struct sock *sk, u64 type, struct connection *connection, u64 now)
{
    struct event *event = is_selected(sk, type) ? pt_reserve() : 0;

    if (!event)
        return;
    event->tx_bytes = type == CLOSE ? sent(sk) : -1;
    event->rx_bytes = type == CLOSE ? pt_tcp_received(sk) : -1;
    event->ns = now;
    event->duration_ns = connection->ns ? now - connection->ns : 0;
    event->type = type;
    event->pid = connection->pid;
    event->netns = pt_netns_of(sk);
    event->sport = pt_source_port(sk);
    event->dport = pt_target_port(sk);
    event->error = type == FAIL ? pt_read(sk->sk_err) : 0;
    pt_addresses(sk, event->saddr, event->daddr);
    __builtin_memcpy(event->comm, connection->comm, sizeof(event->comm));
    pt_submit(ctx, event);
}
#endif
