// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Bytes that programs send and receive by sockets. The tracer that includes this defines
//
//     on_bytes(sk, sent, received)     the current task has sent or received: one of the numbers is 0
#include "read.h"

#define PT_MSG_PEEK 2 // MSG_PEEK: the data stays in the queue

static int on_bytes(struct sock *sk, s64 sent, s64 received);

// The result of a call that sends or receives: bytes, or an error.
static __always_inline int on_sent(struct sock *sk, s32 size)
{
    return on_bytes(sk, size > 0 ? size : 0, 0);
}

static __always_inline int on_received(struct sock *sk, s32 size, u64 flags)
{
    return on_bytes(sk, 0, size > 0 && !(flags & PT_MSG_PEEK) ? size : 0);
}

#if defined(HOOK_SOCKET_BYTES_RAW_TRACEPOINT)
// sock_send_length(sk, result, flags), sock_recv_length(sk, result, flags)
int sent(struct bpf_raw_tracepoint_args *ctx)
{
    return on_sent((struct sock *)ctx->args[0], ctx->args[1]);
}

int received(struct bpf_raw_tracepoint_args *ctx)
{
    return on_received((struct sock *)ctx->args[0], ctx->args[1], ctx->args[2]);
}
#elif defined(HOOK_SOCKET_BYTES_FEXIT)
// The arguments of a function, the first of them a struct socket, and its return value. Read as numbers: before Linux
// 5.12 the verifier accepts no pointer as a number. The program must return 0.
#define ON_RETURN(call, arguments)                                                                           \
    ({                                                                                                       \
        u64 args[(arguments) + 1];                                                                           \
        struct sock *sk;                                                                                     \
                                                                                                             \
        pt_probe_read_kernel(args, sizeof(args), ctx);                                                       \
        sk = pt_read(((struct socket *)args[0])->sk);                                                        \
        call;                                                                                                \
        0;                                                                                                   \
    })

// inet_sendmsg(socket, message, size), inet6_sendmsg likewise
int sent(void *ctx)
{
    return ON_RETURN(on_sent(sk, args[3]), 3);
}

int sent6(void *ctx)
{
    return ON_RETURN(on_sent(sk, args[3]), 3);
}

// inet_sendpage(socket, page, offset, size, flags)
int sent_page(void *ctx)
{
    return ON_RETURN(on_sent(sk, args[5]), 5);
}

// inet_recvmsg(socket, message, size, flags), inet6_recvmsg likewise
int received(void *ctx)
{
    return ON_RETURN(on_received(sk, args[4], args[3]), 4);
}

int received6(void *ctx)
{
    return ON_RETURN(on_received(sk, args[4], args[3]), 4);
}
#endif
