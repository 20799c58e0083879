// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The payload that a TCP connection has carried until now. Include tcp.h before it.
#include <linux/tcp.h>

#define PT_FIN_CAME 1 // SOCK_DONE of enum sock_flags

// Without retransmissions, and without what waits to be sent. bytes_acked would include SYN and FIN.
static __always_inline u64 pt_tcp_sent(struct sock *sk)
{
    struct tcp_sock *tp = (struct tcp_sock *)sk;

    return pt_read(tp->bytes_sent) - pt_read(tp->bytes_retrans);
}

// bytes_received includes a FIN.
static __always_inline u64 pt_tcp_received(struct sock *sk)
{
    struct tcp_sock *tp = (struct tcp_sock *)sk;

    return pt_read(tp->bytes_received) - (pt_read(sk->__sk_common.skc_flags) >> PT_FIN_CAME & 1);
}
