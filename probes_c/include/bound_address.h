// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Addresses of IPv4 and IPv6 sockets: the one that a program asks for, and the one that the socket has.
#include "sock_kind.h"
#include <net/inet_sock.h>

#define PT_AF_INET  2
#define PT_AF_INET6 10
#define PT_SOCK_RAW 3

struct pt_bound {
    s32 port;       // -1: none
    u8 address[16]; // IPv4 is mapped; 0xff: none
};
#define PT_NOT_BOUND {.port = -1, .address = {[0 ... 15] = 0xff}}

static __always_inline void pt_bound_ipv4(struct pt_bound *bound)
{
    __builtin_memset(bound->address, 0, 10);
    __builtin_memset(bound->address + 10, 0xff, 2);
}

// Fill in the address of a struct sockaddr_in or sockaddr_in6 in user memory, or in the kernel's (is_copied).
static __always_inline void pt_fill_asked(struct pt_bound *bound, u64 from, int is_copied)
{
    u8 bytes[28] = {}; // struct sockaddr_in6
    u16 family;

    if (is_copied)
        pt_probe_read_kernel(bytes, sizeof(bytes), (void *)from);
    else
        pt_probe_read_user(bytes, 16, (void *)from);
    __builtin_memcpy(&family, bytes, sizeof(family));
    if (family == PT_AF_INET || family == PT_AF_INET6)
        bound->port = bytes[2] << 8 | bytes[3];
    if (family == PT_AF_INET6) {
        if (!is_copied)
            pt_probe_read_user(bytes, sizeof(bytes), (void *)from);
        __builtin_memcpy(bound->address, bytes + 8, 16);
    } else if (family == PT_AF_INET) {
        pt_bound_ipv4(bound);
        __builtin_memcpy(bound->address + 12, bytes + 4, 4);
    }
}

// Fill in the address of a socket.
static __always_inline void pt_fill_bound(struct pt_bound *bound, struct sock *sk, u32 family)
{
    if (pt_socket_type(sk) != PT_SOCK_RAW) // which has its protocol there
        bound->port = pt_read(sk->__sk_common.skc_num);
    if (family == PT_AF_INET6) {
        pt_probe_read_kernel(bound->address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        return;
    }
    pt_bound_ipv4(bound);
    pt_probe_read_kernel(bound->address + 12, 4, &sk->__sk_common.skc_rcv_saddr);
}
