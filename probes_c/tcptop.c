// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up what programs send and receive by TCP connections.
#define PT_NETNS_OF_SOCKET
#include "task.h"

static int on_state(void *ctx, struct sock *sk, int old, int new);
static int on_accept(void *ctx, struct sock *sk);
#include "tcp.h"

#include "connection_rows.h"

#define PT_MSG_PEEK 2 // MSG_PEEK: it stays to be received

struct row_value {
    u64 tx_bytes;
    u64 rx_bytes;
    u64 calls;
};
#include "rows.h"

// The task that runs calls: these bytes are its own.
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

#ifdef HOOK_SOCKET_BYTES_RAW_TRACEPOINT
// sock_send_length(sk, result, flags), sock_recv_length(sk, result, flags)
int sent(struct bpf_raw_tracepoint_args *ctx)
{
    s64 size = (s32)ctx->args[1];

    return on_bytes((struct sock *)ctx->args[0], size > 0 ? size : 0, 0);
}

int received(struct bpf_raw_tracepoint_args *ctx)
{
    s64 size = (s32)ctx->args[1];

    return on_bytes((struct sock *)ctx->args[0], 0, size > 0 && !(ctx->args[2] & PT_MSG_PEEK) ? size : 0);
}
#endif
