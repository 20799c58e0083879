// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count packets and bytes per protocol, in traffic control.
//
// The verdict is "unspecified": later filters decide, as if there were no such program. "OK" would let the packet pass
// at once, and no other filter would see it.
#include "skb.h"

#include "packet.h"

#define UNSPECIFIED (-1) // TC_ACT_UNSPEC

int count(struct __sk_buff *skb)
{
    pt_count_packet(skb, skb->ifindex, skb->len);
    return UNSPECIFIED;
}
