// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// HTTP/1 (RFC 9112) in packets that begin with their network header. Include skb.h and ip.h before it.
//
//     pt_http_find(skb, port, &message)  what a TCP segment of this port (0: any) begins with: PT_HTTP_REQUEST or, if it
//                                        ends a request, PT_HTTP_RESPONSE; 0: neither
//     pt_http_again(skb, &message, is_out)
//                                        whether the segment has been seen: TCP sends again what may be lost
//     pt_http_line(skb, &message, line)  copies the first line without its end, all else zeroed; how long it is
#include "loops.h"
#include "packet_peer.h"

#define PT_HTTP_ROOM 256 // bytes of a line

enum pt_http { PT_HTTP_REQUEST = 1, PT_HTTP_RESPONSE };

struct pt_http_message {
    u32 start; // of what the segment carries
    u32 status;
    u32 sequence; // TCP's number of its first byte
    u16 sport;
    u16 dport;
};

static __always_inline int pt_is_method(u64 word)
{
    // The first eight bytes, in the order of the memory.
#define PT_STARTS(text)                                                                                      \
    ({                                                                                                       \
        u64 wanted_ = 0, mask_ = 0;                                                                          \
        __builtin_memcpy(&wanted_, text, sizeof(text) - 1);                                                  \
        __builtin_memset(&mask_, 0xff, sizeof(text) - 1);                                                    \
        (word & mask_) == wanted_;                                                                           \
    })
    return PT_STARTS("GET ") || PT_STARTS("POST ") || PT_STARTS("PUT ") || PT_STARTS("HEAD ") ||
           PT_STARTS("DELETE ") || PT_STARTS("PATCH ") || PT_STARTS("OPTIONS ") || PT_STARTS("CONNECT ") ||
           PT_STARTS("TRACE ");
}

static __always_inline int pt_http_find(struct __sk_buff *skb, u32 port, struct pt_http_message *message)
{
    u8 first[20], status[4], protocol;
    u32 transport;
    u64 word;

    __builtin_memset(message, 0, sizeof(*message));
    transport = pt_transport(skb, 0, &protocol);
    if (!transport || protocol != TCP || pt_load(skb, transport, first, sizeof(first)) || first[12] < 0x50)
        return 0;
    message->sport = first[0] << 8 | first[1];
    message->dport = first[2] << 8 | first[3];
    message->sequence = first[4] << 24 | first[5] << 16 | first[6] << 8 | first[7];
    message->start = transport + (first[12] >> 4) * 4;
    if (port && message->sport != port && message->dport != port)
        return 0;
    if (pt_load(skb, message->start, &word, sizeof(word)))
        return 0;
    if (pt_is_method(word))
        return PT_HTTP_REQUEST;
    // HTTP/1.1 200
    if (!PT_STARTS("HTTP/1.") || pt_load(skb, message->start + 8, status, sizeof(status)) || status[0] != ' ')
        return 0;
    message->status = (status[1] - '0') * 100 + (status[2] - '0') * 10 + status[3] - '0';
    // Interim responses end no request, but for 101 (Switching Protocols).
    return message->status == 101 || (message->status >= 200 && message->status <= 999) ? PT_HTTP_RESPONSE
                                                                                        : 0;
}

// The sequence number of the latest message, by the socket's cookie and the direction.
BPF_TABLE("lru_hash", u64, u32, pt_http_latest, 8192);

#define PT_HTTP_WINDOW (1 << 26) // more than any retransmission; sequence numbers wrap after 4 GiB

static __always_inline int pt_http_again(struct __sk_buff *skb, struct pt_http_message *message, int is_out)
{
    u64 key = bpf_get_socket_cookie(skb) << 1 | !!is_out;
    u32 *latest = pt_http_latest.lookup(&key);

    if (latest && *latest - message->sequence < PT_HTTP_WINDOW)
        return 1;
    pt_http_latest.update(&key, &message->sequence);
    return 0;
}

struct pt_http_walk {
    u32 index;
    u32 size;
    u32 at;
    struct __sk_buff *skb;
};

// Copy a byte of the line, which ends with CR LF or LF.
PT_LOOP_BODY(2, struct pt_http_walk *walk)
{
    u8 byte;

    if (bpf_skb_load_bytes(walk->skb, walk->at, &byte, 1) || byte == '\r' || byte == '\n')
        return 1;
    walk->at++;
    walk->size++;
    return 0;
}

static __always_inline u32 pt_http_line(struct __sk_buff *skb, struct pt_http_message *message, u8 *line)
{
    struct pt_http_walk walk = {.skb = skb, .at = message->start};
    u64 size;

    __builtin_memset(line, 0, PT_HTTP_ROOM);
    PT_LOOP_RUN(2, PT_HTTP_ROOM, &walk);
    if (!walk.size)
        return 0;
    size = walk.size - 1;
    pt_opaque(size);
    // At most PT_HTTP_ROOM, a power of two. Comparisons would be of a copy, of which the verifier learns nothing.
    size = (size & (PT_HTTP_ROOM - 1)) + 1;
    if (bpf_skb_load_bytes(skb, message->start, line, size))
        return 0;
    return size;
}
