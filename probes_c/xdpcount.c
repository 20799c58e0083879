// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count frames and bytes per protocol, as they are received.
//
// There is no sk_buff yet: a frame is the bytes between two pointers, and the verifier requires a comparison of each
// access with the second one.
typedef struct xdp_md pt_packet;

#define FARTHEST 0x7fff // headers are read up to this offset: the verifier requires a bound

static __always_inline int pt_load(pt_packet *frame, u32 offset, void *to, u32 size)
{
    void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;

    if (offset > FARTHEST)
        return -1;
    data += offset;
    if (data + size > end)
        return -1;
    __builtin_memcpy(to, data, size);
    return 0;
}

// A link without an Ethernet header carries IP, whose version comes first.
static __always_inline u32 pt_ethertype(pt_packet *frame, u32 offset)
{
    u8 version;

    if (pt_load(frame, offset, &version, sizeof(version)))
        return 0x800;
    return version >> 4 == 6 ? 0x86dd : 0x800;
}

#include "packet.h"

int count(struct xdp_md *frame)
{
    pt_count_packet(frame, frame->ingress_ifindex, frame->data_end - frame->data);
    return XDP_PASS;
}
