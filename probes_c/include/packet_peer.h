// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// pt_packet_peer(skb, is_target, peer): the destination or source address of a packet as an IPv6 address; IPv4 ones are
// mapped. The packet begins with its network header. Include skb.h and ip.h before it.
static __always_inline void pt_packet_peer(struct __sk_buff *skb, int is_target, u8 *peer)
{
    if (pt_ethertype(skb, 0) == TYPE_IPV6) {
        pt_load(skb, is_target ? 24 : 8, peer, 16);
        return;
    }
    __builtin_memset(peer, 0, 10);
    peer[10] = peer[11] = 0xff;
    pt_load(skb, is_target ? 16 : 12, peer + 12, 4);
}
