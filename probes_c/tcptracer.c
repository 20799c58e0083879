// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show TCP connections as they are opened, accepted and closed.
//
// The state often changes while another process's task runs: packets are handled on any CPU. So the owner is saved when
// its own task runs: when it connects and when it accepts. The entry is deleted when its task has closed the
// connection, since the address of a sock is reused.
#define PT_NETNS_OF_SOCKET
#include "config.h"
#include "event_kinds.h"
#include "task.h"

struct event {
    u64 ns;
    u64 duration_ns;
    s64 tx_bytes;
    s64 rx_bytes;
    u32 type;
    u32 pid;
    u32 netns;
    u32 sport;
    u32 dport;
    s32 error;
    u8 saddr[16];
    u8 daddr[16];
    char comm[PT_COMM_LEN];
};
#include "stream.h"

static int on_state(void *ctx, struct sock *sk, int old, int new);
static int on_accept(void *ctx, struct sock *sk);
#include "tcp.h"

#include "connection_events.h"

BPF_HASH(connections, u64, struct connection, 65536);

// Make the current task the owner, if it is traced.
static __always_inline int own(struct connection *connection, struct sock *sk, u64 ns, u32 open)
{
    if (!pt_is_current_traced() || !pt_is_socket_traced(sk))
        return 0;
    connection->ns = ns;
    connection->pid = bpf_get_current_pid_tgid() >> 32;
    connection->open = open;
    bpf_get_current_comm(&connection->comm, sizeof(connection->comm));
    return 1;
}

// Find the owner of an unknown connection that changes its state. If it was open before the trace, the process that
// closes it is its owner; a reset has none. A connection that was not accepted has no socket.
static __always_inline int adopt(struct connection *connection, struct sock *sk, int old, int new)
{
    if (pt_is_closing(sk, old, new))
        return own(connection, sk, 0, 1);
    if (!(old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT) || !pt_read(sk->sk_socket))
        return 0;
    return new == TCP_CLOSE && !PT_FILTERS_TASKS && pt_is_socket_traced(sk);
}

static __always_inline int on_state(void *ctx, struct sock *sk, int old, int new)
{
    u64 key = (u64)sk, now = bpf_ktime_get_ns();
    struct connection *entry, connection = {};

    if (!pt_is_tcp(sk))
        return PT_PASS;
    if (new == TCP_SYN_SENT) {
        if (own(&connection, sk, now, 0) && connections.update(&key, &connection))
            pt_lost(PT_LOSS_INFLIGHT_FULL);
        return PT_PASS;
    }
    if (old == TCP_LISTEN) // a new sock: the end of an earlier one at its address was missed
        connections.delete(&key);
    entry = connections.lookup(&key);
    if (entry)
        connection = *entry;
    else if (!adopt(&connection, sk, old, new))
        return PT_PASS;
    if (entry && !entry->open) {
        if (new == TCP_ESTABLISHED) {
            entry->open = 1;
            entry->ns = now;
            emit(ctx, sk, CONNECT, &connection, now);
        } else if (new == TCP_CLOSE) {
            emit(ctx, sk, FAIL, &connection, now);
            connections.delete(&key);
        }
        return PT_PASS;
    }
    // A connection is closed when neither end can send by it, and when its task has released it.
    if (new == TCP_CLOSE || pt_read(sk->sk_shutdown) == PT_CLOSED_ALL) {
        emit(ctx, sk, CLOSE, &connection, now);
        if (entry)
            connections.delete(&key);
    } else if (!entry && connections.update(&key, &connection)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    }
    return PT_PASS;
}

static __always_inline int on_accept(void *ctx, struct sock *sk)
{
    u64 key = (u64)sk, now = bpf_ktime_get_ns();
    struct connection connection = {};

    if (!sk || !pt_is_tcp(sk) || !own(&connection, sk, now, 1))
        return PT_PASS;
    emit(ctx, sk, ACCEPT, &connection, now);
    if (connections.update(&key, &connection))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}
