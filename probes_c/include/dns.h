// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// DNS messages (RFC 1035) in packets that begin with their network header. Include skb.h and ip.h before it.
//
//     pt_dns_find(skb, &message)              whether the packet is one: its ports, where it begins, its header
//     pt_dns_question(skb, &message, bytes)   copies the first question, all else zeroed; a hash of it, 0: none
#include "loops.h"
#include "packet_peer.h"

#define PT_DNS_QUESTION 264 // a name of at most 255 bytes, its type and class; a multiple of 8
#define PT_DNS_NAME     255
#define PT_DNS_LABELS   128
#define PT_DNS_HEADER   12
#define PT_DNS_ANSWERS  0x80 // the bit QR of its third byte

struct pt_dns {
    u32 start; // of the message
    u32 is_tcp;
    u32 is_whole; // UDP, or a segment that is exactly one message
    u16 sport;
    u16 dport;
    u8 header[PT_DNS_HEADER];
};

static __always_inline u32 pt_read_u16(const u8 *bytes)
{
    return bytes[0] << 8 | bytes[1];
}

// Return 1 if the packet carries DNS on this port. A TCP segment must begin with a message; if the message continues in
// later segments, only its question distinguishes it from the middle of another one.
static __always_inline int pt_dns_find(struct __sk_buff *skb, u32 port, struct pt_dns *message)
{
    u8 first[20], protocol;
    u32 transport, size;

    __builtin_memset(message, 0, sizeof(*message));
    transport = pt_transport(skb, 0, &protocol);
    if (!transport || (protocol != UDP && protocol != TCP) ||
        pt_load(skb, transport, first, protocol == UDP ? 8 : 20))
        return 0;
    message->sport = pt_read_u16(first);
    message->dport = pt_read_u16(first + 2);
    if (message->sport != port && message->dport != port)
        return 0;
    message->start = transport + (protocol == UDP ? 8 : (first[12] >> 4) * 4);
    message->is_whole = 1;
    if (protocol == TCP) {
        if (first[12] < 0x50 || pt_load(skb, message->start, first, 2))
            return 0;
        message->start += 2;
        message->is_tcp = 1;
        size = pt_read_u16(first);
        if (message->start + size < skb->len)
            return 0;
        message->is_whole = message->start + size == skb->len;
    }
    return !pt_load(skb, message->start, message->header, PT_DNS_HEADER);
}

struct pt_dns_walk {
    u32 index;
    u32 end; // the end of the name; 0: not reached yet, or malformed
    u32 at;
    u32 first;
    struct __sk_buff *skb;
};

// One label of the name. (A question has no pointers: 0xc0 and more are malformed.)
PT_LOOP_BODY(1, struct pt_dns_walk *walk)
{
    u8 length;

    if (walk->at - walk->first >= PT_DNS_NAME || bpf_skb_load_bytes(walk->skb, walk->at, &length, 1) ||
        length > 63)
        return 1;
    walk->at += length + 1;
    if (length)
        return 0;
    walk->end = walk->at;
    return 1;
}

static __always_inline u64 pt_dns_question(struct __sk_buff *skb, struct pt_dns *message, u64 *question)
{
    struct pt_dns_walk walk = {.skb = skb};
    u64 hash = 1, word, size;

    __builtin_memset(question, 0, PT_DNS_QUESTION);
    if (!pt_read_u16(message->header + 4)) // QDCOUNT
        return 0;
    walk.first = walk.at = message->start + PT_DNS_HEADER;
    PT_LOOP_RUN(1, PT_DNS_LABELS, &walk);
    size = walk.end - walk.first + 4; // QTYPE and QCLASS
    pt_opaque(size);
    if (!walk.end || size < 5 || size > PT_DNS_NAME + 4 ||
        bpf_skb_load_bytes(skb, walk.first, question, size))
        return 0;
#pragma unroll
    for (int i = 0; i < PT_DNS_QUESTION / 8; i++) {
        // The hash ignores the case of letters, since servers may answer in another case.
        word = question[i] | 0x2020202020202020ULL;
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
    }
    return hash ? hash : 1;
}
