// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Parses packets of an interface, with the link's header. The tracer that includes this defines before it, besides
// the definitions for ip.h:
//
//   pt_announced(packet, offset)         what follows a link that has no EtherType, as an EtherType
#include "ip.h"

#define ETHERNET 14 // the length of its header

// The length of the link header by interface; those that are not here have Ethernet's.
BPF_HASH(links, u32, u32, 4096);
BPF_ARRAY(pt_links, u32, 1); // how many they are: mostly none, and then none is looked for

static __always_inline u32 pt_header(u32 interface)
{
    u32 first = 0, *others = pt_links.lookup(&first), *length;

    if (!others || !*others)
        return ETHERNET;
    length = links.lookup(&interface);
    return length ? *length : ETHERNET;
}

// What the link's header, and tags behind it, lead to, as pt_protocol says it of what is no IP; and to where.
static __always_inline u32 pt_link(pt_packet *packet, u32 interface, u32 *start)
{
    u32 offset = pt_header(interface), type;
    int ethernet = offset == ETHERNET;
    u8 bytes[2]; // big-endian, as on the wire

    *start = 0;
    if (!ethernet)
        type = pt_announced(packet, offset);
    else if (pt_load(packet, 12, bytes, sizeof(bytes)))
        return MALFORMED;
    else
        type = bytes[0] << 8 | bytes[1];
    // A tag is 2 bytes of its own, then the EtherType of what it marks. One that the device took off the
    // frame, or is to put on, is not in the data.
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

// The protocol of a packet of which pt_link said this.
static __always_inline u32 pt_protocol(pt_packet *packet, u32 link, u32 start)
{
    if (link == (FRAME | TYPE_IPV4))
        return pt_ipv4(packet, start);
    if (link == (FRAME | TYPE_IPV6))
        return pt_ipv6(packet, start);
    return link;
}
