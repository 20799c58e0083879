// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Counts packets by interface and protocol. The tracer that includes this has the definitions for link_layer.h.
#include "link_layer.h"

struct row_key {
    u32 interface;
    u32 protocol;
};

struct row_value {
    u64 packets;
    u64 bytes;
};
#include "rows.h"

#ifndef pt_load_head
#define pt_load_head(packet, to, size) pt_load(packet, 0, to, size) // the first bytes of a packet
#endif

// Most packets need no hash: the rows of DENSE_PROTOCOLS on interfaces with small numbers are an array. The order is
// that of _DENSE_PROTOCOLS in src/pytracer/spec/packets.py.
#define DENSE_PROTOCOLS  8
#define DENSE_INTERFACES 128
#define ARP              (FRAME | 0x806)
BPF_PERCPU_ARRAY(dense, struct row_value, DENSE_INTERFACES *DENSE_PROTOCOLS);

static __always_inline u32 pt_dense_protocol(u32 protocol)
{
    switch (protocol) {
    case TCP:
        return 0;
    case UDP:
        return 1;
    case ICMP:
        return 2;
    case ICMPV6:
        return 3;
    case OTHER:
        return 4;
    case MALFORMED:
        return 5;
    case LLC:
        return 6;
    case ARP:
        return 7;
    default:
        return DENSE_PROTOCOLS;
    }
}

// Return the row of a protocol on an interface. Returns 0 if the map is full.
static __always_inline struct row_value *pt_packet_row(u32 interface, u32 protocol)
{
    struct row_key key = {.interface = interface, .protocol = protocol};
    u32 index = pt_dense_protocol(protocol);

    if (index < DENSE_PROTOCOLS && interface < DENSE_INTERFACES) {
        index += interface * DENSE_PROTOCOLS;
        return dense.lookup(&index);
    }
    return pt_row(&key);
}

// Return the protocol of a packet of an interface.
static __always_inline u32 pt_packet_protocol(pt_packet *packet, u32 interface)
{
    u8 head[ETHERNET + IPV4_HEADER];
    u32 type = 0, link, start = ETHERNET;

    // One call reads both headers of IPv4 without a VLAN tag, and for others the type.
    if (pt_link_header_len(interface) == ETHERNET && !pt_load_head(packet, head, sizeof(head)))
        type = head[12] << 8 | head[13];
    if (type == TYPE_IPV4)
        return pt_ipv4_protocol(head + ETHERNET);
    link = type == TYPE_IPV6 ? FRAME | TYPE_IPV6 : pt_parse_link(packet, interface, &start);
    return pt_protocol(packet, link, start);
}

// Count a packet of "bytes" on an interface.
static __always_inline void pt_count_packet(pt_packet *packet, u32 interface, u32 bytes)
{
    struct row_value *row = pt_packet_row(interface, pt_packet_protocol(packet, interface));

    if (row) {
        row->packets++;
        row->bytes += bytes;
    }
}
