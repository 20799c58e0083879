// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// What a packet carries, counted by interface. Who includes this says before, beside what ip.h wants:
//
//   pt_announced(packet, offset)         what follows a link that has no EtherType, as an EtherType
#include "ip.h"

#define ETHERNET 14 // the length of its header

struct row_key {
    u32 interface;
    u32 protocol;
};

struct row_value {
    u64 packets;
    u64 bytes;
};
#include "rows.h"

// The length of the link header by interface; those that are not here have Ethernet's.
BPF_HASH(links, u32, u32, 4096);

static __always_inline u32 pt_protocol(pt_packet *packet, u32 interface)
{
    u32 *length = links.lookup(&interface), offset = length ? *length : ETHERNET, type;
    int ethernet = offset == ETHERNET;
    u8 bytes[2]; // big-endian, as on the wire

    if (!ethernet)
        type = pt_announced(packet, offset);
    else if (pt_read(packet, 12, bytes, sizeof(bytes)))
        return MALFORMED;
    else
        type = bytes[0] << 8 | bytes[1];
    // A tag is 2 bytes of its own, then the EtherType of what it marks. One that the device took off the
    // frame, or is to put on, is not in the data.
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (!ethernet || (type != TYPE_VLAN && type != TYPE_QINQ))
            break;
        if (pt_read(packet, offset + 2, bytes, sizeof(bytes)))
            return MALFORMED;
        type = bytes[0] << 8 | bytes[1];
        offset += 4;
    }
    if (type == TYPE_IPV4)
        return pt_ipv4(packet, offset);
    if (type == TYPE_IPV6)
        return pt_ipv6(packet, offset);
    return type < TYPE_MIN && ethernet ? LLC : FRAME | type;
}

static __always_inline void pt_count(u32 interface, u32 protocol, u32 bytes)
{
    struct row_key key = {.interface = interface, .protocol = protocol};
    struct row_value *row = pt_row(&key);

    if (row) {
        row->packets++;
        row->bytes += bytes;
    }
}
