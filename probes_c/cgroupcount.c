// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count packets and bytes per protocol, as they reach and leave the sockets of cgroups.
//
// A packet begins with its network header here. The verdict lets it pass, so other programs still decide.
#include "skb.h"

#include "ip.h"

#define PASS 1

enum direction { IN, OUT };

struct row_key {
    u64 cgroup;
    u32 direction;
    u32 protocol;
};

struct row_value {
    u64 packets;
    u64 bytes;
};
#include "rows.h"

static __always_inline int passes(struct __sk_buff *skb, enum direction direction)
{
    struct row_key key = {.direction = direction};
    struct row_value *row;

    key.cgroup = bpf_skb_cgroup_id(skb);
    key.protocol = pt_ethertype(skb, 0) == TYPE_IPV6 ? pt_ipv6(skb, 0) : pt_ipv4(skb, 0);
    row = pt_row(&key);
    if (row) {
        row->packets++;
        row->bytes += skb->len;
    }
    return PASS;
}

int incoming(struct __sk_buff *skb)
{
    return passes(skb, IN);
}

int outgoing(struct __sk_buff *skb)
{
    return passes(skb, OUT);
}
