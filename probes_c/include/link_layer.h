// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Parses packets of an interface, with the link's header. The tracer that includes this defines before it, besides
// the definitions for ip.h:
//
//   pt_ethertype(packet, offset)         the EtherType of a packet whose link header has none
#include "ip.h"

#define ETHERNET 14 // the length of its header

// The length of the link header, by interface; interfaces that are not in the map have Ethernet's.
BPF_HASH(links, u32, u32, 4096);
BPF_ARRAY(pt_links, u32, 1); // the number of entries: mostly 0, which saves the look-up

static __always_inline u32 pt_link_header_len(u32 interface)
{
    u32 first = 0, *others = pt_links.lookup(&first), *length;

    if (!others || !*others)
        return ETHERNET;
    length = links.lookup(&interface);
    return length ? *length : ETHERNET;
}

// Parse the link header and VLAN tags. Returns FRAME plus the EtherType, LLC or MALFORMED; "start" is the offset of the
// network header.
static __always_inline u32 pt_parse_link(pt_packet *packet, u32 interface, u32 *start)
{
    u32 offset = pt_link_header_len(interface), type;
    int ethernet = offset == ETHERNET;
    u8 bytes[2]; // big-endian, as on the wire

    *start = 0;
    if (!ethernet)
        type = pt_ethertype(packet, offset);
    else if (pt_load(packet, 12, bytes, sizeof(bytes)))
        return MALFORMED;
    else
        type = bytes[0] << 8 | bytes[1];
    // A tag has 2 bytes, then the EtherType of the tagged packet. A tag that the device strips or inserts is not in the
    // data.
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (!ethernet || (type != TYPE_VLAN && type != TYPE_QINQ))
            break;
        if (pt_load(packet, offset + 2, bytes, sizeof(bytes)))
            return MALFORMED;
        type = bytes[0] << 8 | bytes[1];
        offset += 4;
    }
    *start = offset;
    return type < TYPE_MIN && ethernet ? LLC : FRAME | type;
}

// Return the protocol of a packet from the result of pt_parse_link.
static __always_inline u32 pt_protocol(pt_packet *packet, u32 link, u32 start)
{
    if (link == (FRAME | TYPE_IPV4))
        return pt_ipv4(packet, start);
    if (link == (FRAME | TYPE_IPV6))
        return pt_ipv6(packet, start);
    return link;
}
