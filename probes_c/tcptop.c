// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up bytes that programs send and receive by TCP connections.
#define PT_NETNS_OF_SOCKET
#include "task.h"

static int on_state(void *ctx, struct sock *sk, int old, int new);
static int on_accept(void *ctx, struct sock *sk);
#include "tcp.h"

#include "connection_rows.h"

struct row_value {
    u64 tx_bytes;
    u64 rx_bytes;
    u64 calls;
};
#include "rows.h"
#include "descriptor.h"
#include "socket_bytes.h"
#include "syscall_numbers.h"
#include "returns.h"

// The current task makes the call: the bytes belong to it.
static __always_inline int on_bytes(struct sock *sk, s64 sent, s64 received)
{
    char comm[PT_COMM_LEN] = {};
    struct row_value *row;
    struct row_key key;
    u32 pid = 0;

    if (sent + received <= 0 || !pt_is_tcp(sk) || !pt_is_current_traced() || !pt_is_socket_traced(sk))
        return PT_PASS;
    if (!pt_is_kernel_thread()) {
        pid = bpf_get_current_pid_tgid() >> 32;
        bpf_get_current_comm(&comm, sizeof(comm));
    }
    pt_fill_row_key(&key, sk, pid, comm);
    row = pt_row(&key);
    if (row) {
        row->tx_bytes += sent;
        row->rx_bytes += received;
        row->calls++;
    }
    return PT_PASS;
}

static __always_inline int kind_of(u64 call)
{
    return PT_IS(call, splice, 275, 313, 76, 340);
}

// splice(2) takes what a socket has received, and receives no message.
static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct socket *socket;

    if (!kind_of(call->call) || call->ret <= 0)
        return PT_PASS;
    socket = pt_socket_of(pt_file_of(call->args[0]));
    if (socket)
        on_bytes(pt_read(socket->sk), 0, call->ret);
    return PT_PASS;
}
