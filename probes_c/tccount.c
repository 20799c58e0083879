// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count packets and bytes per protocol, in traffic control.
//
// The verdict is "unspecified": later filters decide, as if there were no such program. "OK" would let the packet pass
// at once, and no other filter would see it.
#include "skb.h"

// Read the first bytes of a packet, without a call if they are in its linear part.
static __always_inline int load_head(struct __sk_buff *skb, void *to, u32 size)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

    if (data + size > end)
        return pt_load(skb, 0, to, size);
    __builtin_memcpy(to, data, size);
    return 0;
}
#define pt_load_head load_head

#include "packet.h"

#define UNSPECIFIED (-1) // TC_ACT_UNSPEC

int count(struct __sk_buff *skb)
{
    pt_count_packet(skb, skb->ifindex, skb->len);
    return UNSPECIFIED;
}
