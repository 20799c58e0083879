// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Parses a packet from its network header on. The tracer that includes this defines before it:
//
//   pt_packet                            the type of the program's context
//   pt_load(packet, offset, to, size)    copies bytes of the packet; 0 if it has them

// The protocol of a packet: one of these, or FRAME plus an EtherType.
enum protocol {
    ICMP = 1,
    TCP = 6,
    UDP = 17,
    ICMPV6 = 58,
    OTHER = 0x100, // another IP protocol
    MALFORMED,     // the header is too short, or its IP version differs from the EtherType
    LLC,           // IEEE 802.3: a length instead of an EtherType
    FRAME = 0x10000,
};

enum ethertype {
    TYPE_MIN = 0x600,
    TYPE_IPV4 = 0x800,
    TYPE_VLAN = 0x8100, // IEEE 802.1Q
    TYPE_IPV6 = 0x86dd,
    TYPE_QINQ = 0x88a8, // IEEE 802.1ad
};

// IPv6 extension headers; HOPS and OPTIONS are the hop-by-hop and the destination options.
enum extension { HOPS = 0, ROUTING = 43, FRAGMENT = 44, AH = 51, OPTIONS = 60 };
enum later_extension { MOBILITY = 135, HIP = 139, SHIM6 = 140 };

#define EXTENSIONS 8 // the maximum of IPv6 extension headers; the loop is unrolled

#define IPV4_HEADER 20 // its length without options

// Return the protocol of a packet from its IPv4 header.
static __always_inline u32 pt_ipv4_protocol(const u8 *header)
{
    if (header[0] >> 4 != 4 || (header[0] & 15) < 5)
        return MALFORMED;
    return header[9] == TCP || header[9] == UDP || header[9] == ICMP ? header[9] : OTHER;
}

static __always_inline u32 pt_ipv4(pt_packet *packet, u32 offset)
{
    u8 header[IPV4_HEADER];

    if (pt_load(packet, offset, header, sizeof(header)))
        return MALFORMED;
    return pt_ipv4_protocol(header);
}

static __always_inline int pt_is_extension(u8 next)
{
    return next == HOPS || next == ROUTING || next == FRAGMENT || next == AH || next == OPTIONS ||
           next == MOBILITY || next == HIP || next == SHIM6;
}

static __always_inline u32 pt_ipv6(pt_packet *packet, u32 offset)
{
    u8 header[40], extension[8], next;

    if (pt_load(packet, offset, header, sizeof(header)) || header[0] >> 4 != 6)
        return MALFORMED;
    next = header[6];
    offset += sizeof(header);
#pragma unroll
    for (int i = 0; i < EXTENSIONS; i++) {
        u8 kind = next;

        if (!pt_is_extension(kind))
            break;
        if (pt_load(packet, offset, extension, sizeof(extension)))
            return MALFORMED;
        next = extension[0];
        // Only the first fragment has the next header; later ones have data.
        if (kind == FRAGMENT && (extension[2] || extension[3] & 0xf8))
            break;
        if (kind == FRAGMENT)
            offset += 8;
        else if (kind == AH)
            offset += (extension[1] + 2) * 4;
        else
            offset += (extension[1] + 1) * 8;
    }
    return next == TCP || next == UDP || next == ICMPV6 ? next : OTHER;
}

// Return the offset of the TCP or UDP header of a packet, and its protocol; 0: it has none that can be read. A later
// fragment has none, nor has a packet whose IPv4 header says that it is too short or ends before. IPv6 extension
// headers are not looked through: the first one is then the protocol.
static __always_inline u32 pt_transport(pt_packet *packet, u32 offset, u8 *protocol)
{
    u32 size, total;
    u8 header[20];

    if (pt_load(packet, offset, header, sizeof(header)))
        return 0;
    if (header[0] >> 4 == 6) {
        *protocol = header[6];
        return offset + 40;
    }
    size = (header[0] & 15) * 4;
    total = header[2] << 8 | header[3]; // 0: more than it can say (TSO)
    if (header[0] >> 4 != 4 || size < sizeof(header) || header[6] & 0x1f || header[7] ||
        (total && total < size + 4))
        return 0;
    *protocol = header[9];
    return offset + size;
}
