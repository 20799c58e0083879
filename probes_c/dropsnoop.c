// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each packet that the kernel drops: where, why, and its owner. With STACKS count them by stack.
#define KERNEL_ONLY // the current task has nothing to do with the packet
#define PT_OWNS_ALL_SOCKETS
#include "owners.h"

#ifdef STACKS
#include "stack.h"
#endif
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>

#define PT_ETH_P_IP   0x0800
#define PT_ETH_P_IPV6 0x86dd
#define PT_NO_PORT    0xffffffff // s32 -1

// A drop, as the event reports it.
struct pt_drop {
    struct sk_buff *skb;
    struct sock *sk; // 0: no socket, or unknown
    u64 place;
    u32 reason; // enum skb_drop_reason; 0 before Linux 5.17
};

#ifdef STACKS
struct row_key {
    PT_STACKS_MEMBERS;
    u32 reason;
};

struct row_value {
    u64 packets;
};
#include "rows.h"
#else
struct event {
    u64 ns;
    u64 place;
    u32 pid;
    u32 netns;
    u32 reason;
    u32 bytes;
    u32 protocol; // IPPROTO_*
    s32 sport;    // -1: none
    s32 dport;
    u8 saddr[16];
    u8 daddr[16];
    char comm[PT_COMM_LEN];
    char interface[PT_COMM_LEN]; // IFNAMSIZ
};
#include "stream.h"
#endif

static __always_inline void on_change(void *ctx, struct sock *sk, int old, int new,
                                      struct pt_connection *connection, u64 now)
{
}

#ifndef STACKS
// The addresses and ports of an IP packet, as far as its headers can be read.
static __always_inline void fill_ends(struct event *event, struct sk_buff *skb)
{
    u16 protocol = __builtin_bswap16(pt_read(skb->protocol)), at = pt_read(skb->network_header);
    u16 transport = pt_read(skb->transport_header), ports[2] = {};
    u8 *head = pt_read(skb->head);
    struct ipv6hdr *ip6 = (struct ipv6hdr *)(head + at);
    struct iphdr *ip4 = (struct iphdr *)(head + at);
    u8 next = 0;

    event->sport = event->dport = PT_NO_PORT;
    __builtin_memset(event->saddr, 0xff, sizeof(event->saddr));
    __builtin_memset(event->daddr, 0xff, sizeof(event->daddr));
    if (protocol == PT_ETH_P_IP && at && at != 0xffff) {
        __builtin_memset(event->saddr, 0, 10);
        __builtin_memset(event->daddr, 0, 10);
        pt_probe_read_kernel(event->saddr + 12, 4, &ip4->saddr);
        pt_probe_read_kernel(event->daddr + 12, 4, &ip4->daddr);
        next = pt_read(ip4->protocol);
    } else if (protocol == PT_ETH_P_IPV6 && at && at != 0xffff) {
        pt_probe_read_kernel(event->saddr, 16, &ip6->saddr);
        pt_probe_read_kernel(event->daddr, 16, &ip6->daddr);
        next = pt_read(ip6->nexthdr);
    }
    event->protocol = next;
    if ((next != IPPROTO_TCP && next != IPPROTO_UDP) || transport == 0xffff || transport <= at)
        return;
    pt_probe_read_kernel(ports, sizeof(ports), head + transport);
    event->sport = __builtin_bswap16(ports[0]);
    event->dport = __builtin_bswap16(ports[1]);
}
#endif

static __always_inline int on_drop(void *ctx, struct pt_drop *drop)
{
    struct sock *sk = drop->sk ? drop->sk : (struct sock *)pt_read(drop->skb->sk);
    struct net_device *dev = (struct net_device *)pt_read(drop->skb->dev);
    struct net *net = sk ? pt_read(sk->__sk_common.skc_net.net) : pt_read(dev->nd_net.net);
    struct pt_connection connection = {};
    u32 netns = pt_read(net->ns.inum);

    if (sk)
        pt_find_owner(sk, &connection);
    if (!pt_is_connection_traced(&connection) || !pt_passes_netns(netns))
        return PT_PASS;
#ifdef STACKS
    struct row_key row = {.reason = drop->reason, .user_stack = PT_STACK_NONE};
    struct row_value *value;

    row.kernel_stack = pt_stack(ctx, 0);
    if (row.kernel_stack == PT_STACK_LOST) {
        pt_lost(PT_LOSS_STACKS_FULL);
        return PT_PASS;
    }
    value = pt_row(&row);
    if (value)
        value->packets++;
#else
    struct event *event = pt_reserve();

    if (!event) // the ring is full: the loss is counted
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->place = drop->place;
    event->reason = drop->reason;
    event->bytes = pt_read(drop->skb->len);
    event->netns = netns;
    event->pid = connection.pid;
    __builtin_memcpy(event->comm, connection.comm, sizeof(event->comm));
    __builtin_memset(event->interface, 0, sizeof(event->interface));
    pt_probe_read_kernel(event->interface, sizeof(event->interface), &dev->name);
    fill_ends(event, drop->skb);
    pt_submit(ctx, event);
#endif
    return PT_PASS;
}

int dropped(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_drop drop = {.skb = (struct sk_buff *)ctx->args[0], .place = ctx->args[1]};

#ifndef HOOK_DROP_RAW_TRACEPOINT
    drop.reason = ctx->args[2];
#endif
#ifdef HOOK_DROP_RAW_TRACEPOINT_SOCKET
    drop.sk = (struct sock *)ctx->args[3];
#endif
    return on_drop(ctx, &drop);
}
