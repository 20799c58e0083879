// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show packets with their addresses as a raw packet socket sees them.
//
// The program is the filter of that socket. It reports the packet and returns 0: nothing is queued to the socket, and
// no payload is copied.
#include "config.h"
#include "skb.h"

#include "link_layer.h"

#define OUTGOING 4    // PACKET_OUTGOING
#define NONE     0xff // each byte of a missing address
#define TAG      4    // bytes of a VLAN tag

enum direction { IN, OUT, BOTH };

struct event {
    u64 ns;
    u32 interface;
    u32 direction;
    u32 protocol;
    u32 bytes;
    s32 sport; // -1: none
    s32 dport;
    u8 saddr[16];
    u8 daddr[16];
};
#include "stream.h"

static __always_inline void ports(struct __sk_buff *skb, u32 start, struct event *event)
{
    u8 port[4], protocol;
    u32 offset = pt_transport(skb, start, &protocol);

    if (!offset || (protocol != TCP && protocol != UDP) || pt_load(skb, offset, port, sizeof(port)))
        return;
    event->sport = port[0] << 8 | port[1];
    event->dport = port[2] << 8 | port[3];
}

static __always_inline void ends4(struct __sk_buff *skb, u32 start, struct event *event)
{
    u8 ip[20];

    if (pt_load(skb, start, ip, sizeof(ip)) || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
        return;
    __builtin_memset(event->saddr, 0, 10);
    __builtin_memset(event->daddr, 0, 10);
    event->saddr[10] = event->saddr[11] = event->daddr[10] = event->daddr[11] = 0xff; // mapped (RFC 4291)
    __builtin_memcpy(event->saddr + 12, ip + 12, 4);
    __builtin_memcpy(event->daddr + 12, ip + 16, 4);
    ports(skb, start, event);
}

static __always_inline void ends6(struct __sk_buff *skb, u32 start, struct event *event)
{
    u8 ip[40];

    if (pt_load(skb, start, ip, sizeof(ip)) || ip[0] >> 4 != 6)
        return;
    __builtin_memcpy(event->saddr, ip + 8, sizeof(event->saddr));
    __builtin_memcpy(event->daddr, ip + 24, sizeof(event->daddr));
    ports(skb, start, event);
}

int see(struct __sk_buff *skb)
{
    u64 directions = pt_cfg(PT_CFG_DIRECTION);
    u32 direction = skb->pkt_type == OUTGOING ? OUT : IN, start, link, protocol;
    struct event *event;

    if (directions != BOTH && directions != direction)
        return 0;
    link = pt_parse_link(skb, skb->ifindex, &start);
    protocol = pt_protocol(skb, link, start);
    event = pt_reserve();
    if (!event)
        return 0;
    event->ns = bpf_ktime_get_ns();
    event->interface = skb->ifindex;
    event->direction = direction;
    event->protocol = protocol;
    // A tag that the device stripped, or will insert, is not in the data.
    event->bytes = skb->len + (skb->vlan_present ? TAG : 0);
    event->sport = event->dport = -1;
    __builtin_memset(event->saddr, NONE, sizeof(event->saddr));
    __builtin_memset(event->daddr, NONE, sizeof(event->daddr));
    if (link == (FRAME | TYPE_IPV4))
        ends4(skb, start, event);
    else if (link == (FRAME | TYPE_IPV6))
        ends6(skb, start, event);
    pt_submit(skb, event);
    return 0;
}
