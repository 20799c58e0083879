// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Packets as sk_buffs: the context of socket filters, traffic control and cgroups.
//
// All reads use bpf_skb_load_bytes, which returns an error beyond the end of a packet. The classic load BPF_LD_ABS
// would end the program there, and the packet would not be counted.
typedef struct __sk_buff pt_packet;

static __always_inline int pt_load(pt_packet *packet, u32 offset, void *to, u32 size)
{
    return bpf_skb_load_bytes(packet, offset, to, size);
}

static __always_inline u32 pt_ethertype(pt_packet *packet, u32 offset)
{
    u16 type = packet->protocol; // in network byte order
    u8 bytes[2];

    __builtin_memcpy(bytes, &type, sizeof(bytes));
    return bytes[0] << 8 | bytes[1];
}
