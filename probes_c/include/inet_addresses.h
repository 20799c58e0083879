// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Addresses and ports of both ends of an IPv4 or IPv6 socket.
#include "read.h"
#include <net/inet_sock.h>

// Macros, and so absent from BTF: AF_INET, AF_INET6.
#define PT_AF_INET  2
#define PT_AF_INET6 10

// Read both addresses as IPv6 addresses; IPv4 ones are mapped (::ffff:192.0.2.1).
static __always_inline void pt_addresses(struct sock *sk, u8 *source, u8 *target)
{
    if (pt_read(sk->__sk_common.skc_family) == PT_AF_INET6) {
        pt_probe_read_kernel(source, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        pt_probe_read_kernel(target, 16, &sk->__sk_common.skc_v6_daddr);
        return;
    }
    __builtin_memset(source, 0, 10);
    __builtin_memset(target, 0, 10);
    source[10] = source[11] = target[10] = target[11] = 0xff;
    pt_probe_read_kernel(source + 12, 4, &sk->__sk_common.skc_rcv_saddr);
    pt_probe_read_kernel(target + 12, 4, &sk->__sk_common.skc_daddr);
}

// The local port. Not skc_num, which is 0 after the port has been released.
static __always_inline u32 pt_source_port(struct sock *sk)
{
    return __builtin_bswap16(pt_read(((struct inet_sock *)sk)->inet_sport));
}

static __always_inline u32 pt_target_port(struct sock *sk)
{
    return __builtin_bswap16(pt_read(sk->__sk_common.skc_dport));
}
