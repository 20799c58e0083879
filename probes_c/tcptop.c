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
#define PT_RETURN_ARGUMENTS 5
#include "returns.h"
#include <uapi/linux/tcp.h>

#define PT_IPPROTO_TCP          6
#define PT_TCP_ZEROCOPY_RECEIVE 35
#define PT_PF_IO_WORKER         0x10

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

enum kind { OTHER, SPLICE, GETSOCKOPT };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, splice, 275, 313, 76, 340))
        return SPLICE;
    return PT_IS(call, getsockopt, 55, 365, 209, 295) ? GETSOCKOPT : OTHER;
}

static __always_inline void on_file_bytes(struct file *file, s64 received)
{
    struct socket *socket = pt_socket_of(file);

    if (socket)
        on_bytes(pt_read(socket->sk), 0, received);
}

// Return the bytes that getsockopt(2) took from a connection: it mapped pages of them, and copied the rest.
static __always_inline s64 zerocopy_bytes(struct pt_return *call)
{
    struct tcp_zerocopy_receive *zerocopy = (void *)call->args[3];
    u32 mapped = 0;
    s32 copied = 0;

    if ((u32)call->args[1] != PT_IPPROTO_TCP || (u32)call->args[2] != PT_TCP_ZEROCOPY_RECEIVE)
        return 0;
    pt_probe_read_user(&mapped, sizeof(mapped), &zerocopy->length);
#ifdef PT_HAS_tcp_zerocopy_receive__copybuf_len // 7eeba1706eba (Linux 5.11)
    u32 size = 0;

    pt_probe_read_user(&size, sizeof(size), (void *)call->args[4]);
    if (size >= offsetof(struct tcp_zerocopy_receive, copybuf_len) + sizeof(copied))
        pt_probe_read_user(&copied, sizeof(copied), &zerocopy->copybuf_len);
#endif
    return (s64)mapped + copied;
}

// These calls take what a socket has received, and receive no message.
static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    s64 received = 0;

    if (kind_of(call->call) == SPLICE)
        received = call->ret;
    else if (kind_of(call->call) == GETSOCKOPT && !call->ret)
        received = zerocopy_bytes(call);
    if (received > 0)
        on_file_bytes(pt_file_of(call->args[0]), received);
    return PT_PASS;
}

#ifdef HOOK_RING_SPLICE_FEXIT
// do_splice(in, in_offset, out, out_offset, size, flags): also splice(2) calls it, but io_uring in its workers alone.
int ring_spliced(u64 *ctx)
{
    u64 args[7];

    pt_probe_read_kernel(args, sizeof(args), ctx);
    if ((s64)args[6] > 0 && (pt_current_field(flags) & PT_PF_IO_WORKER))
        on_file_bytes((struct file *)args[0], args[6]);
    return 0;
}
#endif
