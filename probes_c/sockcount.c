// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count packets and bytes per protocol, as a raw packet socket sees them.
//
// The program is the filter of that socket. It counts and returns 0: nothing is queued to the socket.
//
// The same program in assembly, with permanent rows and a look-up of each link:
// src/pytracer/bpf/asm/lessons/sockcount.py.
#include "config.h"
#include "skb.h"

#include "packet.h"

enum direction { IN, OUT, BOTH };

#define OUTGOING 4 // PACKET_OUTGOING

int count(struct __sk_buff *skb)
{
    u64 direction = pt_cfg(PT_CFG_DIRECTION);

    if (direction == BOTH || direction == (skb->pkt_type == OUTGOING ? OUT : IN))
        pt_count_packet(skb, skb->ifindex, skb->len);
    return 0;
}
