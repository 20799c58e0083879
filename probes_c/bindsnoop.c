// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show bind(2) and listen(2) of IPv4 and IPv6 sockets as they return.
#define PT_NETNS_OF_SOCKET
#include "config.h"
#include "event_kinds.h"
#include "task.h"
#include <linux/net.h>
#include <net/inet_sock.h>

#define PT_AF_INET  2
#define PT_AF_INET6 10
#define IFMT        0170000 // S_IFMT, S_IFSOCK
#define IFSOCK      0140000
#define RAW         3 // SOCK_RAW

struct event {
    u64 ns;
    u32 pid;
    u32 tid;
    u32 error;
    u32 protocol;
    s32 port; // -1: none
    s32 backlog;
    u32 interface;
    u32 netns;
    u8 address[16];
    char call[8];
    char comm[PT_COMM_LEN];
};
#include "syscall_numbers.h"
#include "returns.h"
#include "stream.h"
#include "descriptor.h"

enum kind { OTHER, IS_BIND, IS_LISTEN, IS_SOCKETCALL };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, bind, 49, 361, 200, 282))
        return IS_BIND;
    if (PT_IS(call, listen, 50, 363, 201, 284))
        return IS_LISTEN;
#if defined(__x86_64__)
    return call == (1ULL << 32 | 102) ? IS_SOCKETCALL : OTHER; // socketcall of i386
#else
    return OTHER;
#endif
}

// The arguments of socketcall(2) are in memory. Only 32-bit programs call it.
static __always_inline int unpack(struct pt_return *call)
{
    u32 words[3] = {}, which = call->args[0];

    if (which != 2 && which != 4) // SYS_BIND, SYS_LISTEN
        return OTHER;
    pt_probe_read_user(words, sizeof(words), (void *)call->args[1]);
    call->args[0] = words[0];
    call->args[1] = words[1];
    call->args[2] = words[2];
    return which == 2 ? IS_BIND : IS_LISTEN;
}

// The requested address, if the socket has none.
static __always_inline void fill_asked(struct event *event, u64 address)
{
    u8 bytes[28] = {}; // struct sockaddr_in6
    u16 family;

    pt_probe_read_user(bytes, 16, (void *)address);
    __builtin_memcpy(&family, bytes, sizeof(family));
    if (family == PT_AF_INET || family == PT_AF_INET6)
        event->port = bytes[2] << 8 | bytes[3];
    if (family == PT_AF_INET6) {
        pt_probe_read_user(bytes, sizeof(bytes), (void *)address);
        __builtin_memcpy(event->address, bytes + 8, 16);
    } else if (family == PT_AF_INET) {
        __builtin_memset(event->address, 0, 10);
        __builtin_memcpy(event->address + 12, bytes + 4, 4);
    }
}

static __always_inline void fill_got(struct event *event, struct sock *sk, u32 family)
{
    if (pt_read(sk->sk_type) != RAW) // which has its protocol there
        event->port = pt_read(sk->__sk_common.skc_num);
    if (family == PT_AF_INET6) {
        pt_probe_read_kernel(event->address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        return;
    }
    __builtin_memset(event->address, 0, 10);
    pt_probe_read_kernel(event->address + 12, 4, &sk->__sk_common.skc_rcv_saddr);
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    int kind = kind_of(call->call), failed;
    struct file *file;
    struct inode *inode;
    struct socket *socket;
    struct sock *sk;
    struct net *net;
    struct event *event;
    u32 family;

    if (kind == IS_SOCKETCALL)
        kind = unpack(call);
    if (!kind || !pt_is_shown(kind == IS_LISTEN) || !pt_is_shown_return(call))
        return PT_PASS;
    file = pt_file_of(call->args[0]);
    inode = file ? pt_read(file->f_inode) : 0;
    if (!inode || (pt_read(inode->i_mode) & IFMT) != IFSOCK)
        return PT_PASS;
    socket = pt_read(file->private_data);
    sk = pt_read(socket->sk);
    family = pt_read(sk->__sk_common.skc_family);
    net = pt_read(sk->__sk_common.skc_net.net);
    if ((family != PT_AF_INET && family != PT_AF_INET6) || !pt_passes_netns(pt_read(net->ns.inum)))
        return PT_PASS;
    event = pt_reserve();
    if (!event)
        return PT_PASS;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = bpf_ktime_get_ns();
    pt_fill_task(event);
    if (kind == IS_LISTEN)
        __builtin_memcpy(event->call, "listen", 7);
    else
        __builtin_memcpy(event->call, "bind", 5);
    event->error = call->ret < 0 ? -call->ret : 0;
    event->protocol = pt_read(sk->sk_protocol);
    event->backlog = kind == IS_LISTEN ? (s32)call->args[1] : -1;
    event->interface = pt_read(sk->__sk_common.skc_bound_dev_if);
    event->netns = pt_read(net->ns.inum);
    event->port = -1;
    __builtin_memset(event->address, 0xff, sizeof(event->address));
    if (kind == IS_BIND && event->error)
        fill_asked(event, call->args[1]);
    else
        fill_got(event, sk, family);
    if (pt_cfg(PT_CFG_PORT) && event->port != pt_cfg(PT_CFG_PORT))
        pt_discard(event);
    else
        pt_submit(ctx, event);
    return PT_PASS;
}
