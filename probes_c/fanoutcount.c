// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count how incoming packets spread over workers: the sockets of a fanout group, as capturing programs use it.
//
// The program chooses the socket, and counts for the chosen one. The kernel shows an incoming packet from its network
// header on, an outgoing one from the link header: so all reads are relative to the former.
#include "config.h"

#define OUTGOING 4 // PACKET_OUTGOING

typedef struct __sk_buff pt_packet;

static __always_inline int pt_load(pt_packet *packet, u32 offset, void *to, u32 size)
{
    return bpf_skb_load_bytes_relative(packet, offset, to, size, BPF_HDR_START_NET);
}

#include "ip.h"

enum spread { FLOW, HOSTS, CPU };

struct row_key {
    u32 interface;
    u32 worker;
};

struct row_value {
    u64 packets;
    u64 bytes;
};
#include "rows.h"

// Mix the bits of a word, so that neighbours get different workers.
static __always_inline u32 mix_bits(u32 word)
{
    word *= 0x9e3779b1; // 2^32 divided by the golden ratio
    return word ^ word >> 15;
}

// Read the ports of a packet; 0 and 0 if it has none, or if they must not matter.
static __always_inline void ports(struct __sk_buff *skb, u32 offset, u8 protocol, int hosts, u16 *ends)
{
    ends[0] = ends[1] = 0;
    if (!hosts && (protocol == TCP || protocol == UDP))
        pt_load(skb, offset, ends, 2 * sizeof(*ends));
}

static __always_inline u32 flow4(struct __sk_buff *skb, int hosts)
{
    struct {
        u8 length, skipped[5], fragment[2], lifetime, protocol;
        u16 checksum;
        u32 ends[2];
    } ip;
    u16 port[2];

    if (pt_load(skb, 0, &ip, sizeof(ip)))
        return 0;
    // Only the first fragment has the ports, so fragments are distributed without them.
    hosts |= ip.fragment[0] & 0x3f || ip.fragment[1] || (ip.length & 15) < 5;
    ports(skb, (ip.length & 15) * 4, ip.protocol, hosts, port);
    return mix_bits(ip.ends[0] + port[0]) + mix_bits(ip.ends[1] + port[1]);
}

static __always_inline u32 flow6(struct __sk_buff *skb, int hosts)
{
    struct {
        u32 flow;
        u16 size;
        u8 next, limit;
        u32 ends[2][4];
    } ip;
    u16 port[2];
    u32 first_sum, second_sum;

    if (pt_load(skb, 0, &ip, sizeof(ip)))
        return 0;
    ports(skb, sizeof(ip), ip.next, hosts, port);
    first_sum = port[0];
    second_sum = port[1];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        first_sum = mix_bits(first_sum + ip.ends[0][i]);
        second_sum = mix_bits(second_sum + ip.ends[1][i]);
    }
    return first_sum + second_sum;
}

static __always_inline u32 pick_member(struct __sk_buff *skb, u64 spread)
{
    u32 type = __builtin_bswap16(skb->protocol), flow = 0;

    if (spread == CPU)
        return bpf_get_smp_processor_id();
    if (type == TYPE_IPV4)
        flow = flow4(skb, spread == HOSTS);
    else if (type == TYPE_IPV6)
        flow = flow6(skb, spread == HOSTS);
    return mix_bits(flow) >> 16;
}

int choose(struct __sk_buff *skb)
{
    u32 workers = pt_cfg(PT_CFG_WORKERS);
    struct row_key key = {.interface = skb->ifindex};
    struct row_value *row;

    if (skb->pkt_type == OUTGOING || !workers)
        return 0;
    key.worker = pick_member(skb, pt_cfg(PT_CFG_SPREAD)) % workers;
    row = pt_row(&key);
    if (row) {
        row->packets++;
        row->bytes += skb->len;
    }
    return key.worker;
}
