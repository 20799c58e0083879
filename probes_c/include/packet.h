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

// Count a packet of "bytes" on an interface.
static __always_inline void pt_count_packet(pt_packet *packet, u32 interface, u32 bytes)
{
    struct row_key key = {.interface = interface};
    struct row_value *row;
    u32 start, link = pt_parse_link(packet, interface, &start);

    key.protocol = pt_protocol(packet, link, start);
    row = pt_row(&key);
    if (row) {
        row->packets++;
        row->bytes += bytes;
    }
}
