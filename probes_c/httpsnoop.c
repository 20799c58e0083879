// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show HTTP/1 requests as the responses to them begin, by the packets that leave and reach sockets.
#include "config.h"
#include "packet_owners.h"
#include "skb.h"

#include "ip.h"

#include "http.h"

#define PASS   1
#define CLOSED 7 // TCP_CLOSE

struct event {
    u64 ns;
    s64 latency_ns; // -1: not known
    u32 pid;
    u32 is_traced;
    u32 direction; // of the request
    s32 status;    // -1: there was none
    u32 port;
    u32 netns;
    u32 line_len;
    u32 is_busy; // a program of an interrupt finds the record of the one that it interrupts
    u8 peer[16];
    char comm[PT_COMM_LEN];
    u8 line[PT_HTTP_ROOM] __attribute__((aligned(8)));
};
#define PT_RECORDS 2
#include "stream.h"

// The request that waits for its response, by the socket's cookie. The oldest gives way.
BPF_TABLE("lru_hash", u64, struct event, waiting, 4096);

static __always_inline int is_wanted(struct event *event)
{
#ifdef FAILED
    if (event->status >= 0 && event->status < 400)
        return 0;
#endif
    return !pt_cfg(PT_CFG_MIN) || event->latency_ns >= (s64)pt_cfg(PT_CFG_MIN);
}

static __always_inline void show(void *ctx, struct sock *sk, struct event *request, u64 now, s32 status)
{
    struct event *event = pt_reserve();

    if (!event)
        return;
    __builtin_memcpy(event, request, sizeof(*event));
    pt_fill_owner(event, sk);
    event->ns = now;
    event->latency_ns = status < 0 ? -1 : now - request->ns;
    event->status = status;
    if ((event->pid ? event->is_traced : !PT_FILTERS_TASKS) && is_wanted(event))
        pt_submit(ctx, event);
    else
        pt_discard(event);
}

// A request without a response: it is shown as its connection is closed.
int closed(struct bpf_raw_tracepoint_args *ctx)
{
    struct sock *sk = (struct sock *)ctx->args[0];
    u64 cookie;
    struct event *request;

    if (ctx->args[2] != CLOSED)
        return PT_PASS;
    cookie = pt_read(sk->__sk_common.skc_cookie.counter);
    request = cookie ? waiting.lookup(&cookie) : 0;
    if (request) {
        show(ctx, sk, request, bpf_ktime_get_ns(), -1);
        waiting.delete(&cookie);
    }
    return PT_PASS;
}

static __always_inline void on_request(struct __sk_buff *skb, struct pt_http_message *message, u64 cookie,
                                       int is_out, struct event *record)
{
    struct sock *sk = pt_sock_of(skb);
    struct event *before = waiting.lookup(&cookie);
    u64 now = bpf_ktime_get_ns();

    __builtin_memset(record, 0, sizeof(*record));
    record->is_busy = 1;
    record->ns = now;
    record->direction = is_out;
    record->port = is_out ? message->dport : message->sport;
    record->netns = pt_netns_of(sk);
    pt_packet_peer(skb, is_out, record->peer);
    pt_fill_owner(record, sk);
    record->line_len = pt_http_line(skb, message, record->line);
    if (record->line_len == PT_HTTP_ROOM)
        pt_lost(PT_LOSS_TRUNCATED);
    // Pipelined: no response can be told to be this one's.
    if (before && before->direction == is_out)
        show(skb, sk, record, now, -1);
    else
        waiting.update(&cookie, record);
}

static __always_inline int passes(struct __sk_buff *skb, int is_out)
{
    struct sock *sk = pt_sock_of(skb);
    u64 cookie;
    struct event *request, *record;
    struct pt_http_message message;
    int kind;

    if (!pt_passes_netns(pt_netns_of(sk)))
        return PASS;
    kind = pt_http_find(skb, pt_cfg(PT_CFG_PORT), &message);
    if (!kind || pt_http_again(skb, &message, is_out))
        return PASS;
    if (is_out)
        pt_sent_by(sk, 1);
    cookie = bpf_get_socket_cookie(skb);
    if (kind == PT_HTTP_RESPONSE) {
        request = waiting.lookup(&cookie);
        if (request && request->direction != is_out) {
            show(skb, sk, request, bpf_ktime_get_ns(), message.status);
            waiting.delete(&cookie);
        }
        return PASS;
    }
    record = pt_prepare_in(is_out);
    if (!record)
        return PASS;
    if (record->is_busy) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
        return PASS;
    }
    on_request(skb, &message, cookie, is_out, record);
    record->is_busy = 0;
    return PASS;
}

int incoming(struct __sk_buff *skb)
{
    return passes(skb, 0);
}

int outgoing(struct __sk_buff *skb)
{
    return passes(skb, 1);
}
