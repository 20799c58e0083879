// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure the queues of listening TCP sockets when connections are established.
//
// The new sock is a copy of the listening one, made a moment before: it has its address, its limit and the lengths of
// its queues.
#define PT_NETNS_OF_SOCKET
#include "log2.h"
#include "task.h"

static int on_state(void *ctx, struct sock *sk, int old, int new);
#include "tcp.h"

#include <net/inet_connection_sock.h>

struct row_key {
#ifdef BY_LOCAL
    u8 saddr[16];
    u32 sport;
#endif
#ifdef BY_NETNS
    u32 netns;
#endif
#ifdef HISTOGRAM
    u32 slot;
#endif
};

struct row_value {
    u64 connections;
    u64 waiting;
    u64 max_waiting;
    u64 max_half_open;
    u64 backlog;
};
#include "rows.h"

static __always_inline int on_state(void *ctx, struct sock *sk, int old, int new)
{
    struct inet_connection_sock *queues = (struct inet_connection_sock *)sk;
    u64 waiting, half_open, limit;
    struct row_value *row;
    struct row_key key;
    u8 target[16];

    if (old != TCP_LISTEN || new != TCP_SYN_RECV || !pt_is_tcp(sk) || !pt_passes_netns(pt_netns_of(sk)))
        return PT_PASS;
    waiting = pt_read(sk->sk_ack_backlog);
    limit = pt_read(sk->sk_max_ack_backlog);
    half_open = pt_read(queues->icsk_accept_queue.qlen.counter);
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_LOCAL
    pt_addresses(sk, key.saddr, target);
    key.sport = pt_source_port(sk);
#endif
#ifdef BY_NETNS
    key.netns = pt_netns_of(sk);
#endif
#ifdef HISTOGRAM
    key.slot = pt_bucket(waiting);
#endif
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
    row->connections++;
    row->waiting += waiting;
    if (row->max_waiting < waiting)
        row->max_waiting = waiting;
    if (row->max_half_open < half_open)
        row->max_half_open = half_open;
    if (row->backlog < limit)
        row->backlog = limit;
    return PT_PASS;
}
