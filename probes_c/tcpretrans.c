// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each TCP segment that is retransmitted, and why.
#include "owners.h"

#include "connection_members.h"
#include <linux/skbuff.h>
#include <net/inet_connection_sock.h>
#include <net/request_sock.h>
#include <net/tcp.h>

#define PT_IN_RECOVERY 3 // enum tcp_ca_state
#define PT_IN_LOSS     4

enum why { TIMEOUT, FAST, PROBE, SYN, SYNACK }; // pytracer.enrich.connections

struct event {
    u64 ns;
    u32 type;
    u32 state;
    u32 segments;
    u32 bytes;
    PT_CONNECTION_MEMBERS;
};
#include "stream.h"

static __always_inline void on_change(void *ctx, struct sock *sk, int old, int new,
                                      struct pt_connection *connection, u64 now)
{
}

// A timeout enters the state Loss before it retransmits, an acknowledgement that shows a loss Recovery. Tail loss
// probes (TLP) are sent in neither state.
static __always_inline u32 why(struct sock *sk, u32 state)
{
    struct inet_connection_sock *icsk = (struct inet_connection_sock *)sk;
    u8 bits = 0;

    if (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
        return SYN;
    // icsk_ca_state has five bits of the byte before icsk_retransmits: a bit-field has no address.
    pt_probe_read_kernel(&bits, sizeof(bits), (u8 *)&icsk->icsk_retransmits - 1);
    bits &= 31;
    return bits == PT_IN_LOSS ? TIMEOUT : bits == PT_IN_RECOVERY ? FAST : PROBE;
}

static __always_inline int sent_again(void *ctx, struct sock *sk, struct sk_buff *skb)
{
    struct tcp_skb_cb *cb = (struct tcp_skb_cb *)&skb->cb;
    struct pt_connection connection;
    struct event *event;

    if (!pt_find_connection(sk, &connection))
        return PT_PASS;
    event = pt_reserve();
    if (!event) // the ring is full: the loss is counted
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->state = pt_read(sk->__sk_common.skc_state);
    event->type = why(sk, event->state);
    event->segments = pt_read(cb->tcp_gso_segs);
    event->bytes = pt_read(skb->len);
    pt_fill_connection(event, sk, &connection);
    pt_submit(ctx, event);
    return PT_PASS;
}

// The answer to a SYN: the connection has no socket yet, but a request, which begins like one.
static __always_inline int answered_again(void *ctx, struct sock *listener, struct request_sock *request)
{
    struct pt_connection connection;
    struct event *event;

    if (!pt_find_connection(listener, &connection))
        return PT_PASS;
    event = pt_reserve();
    if (!event) // the ring is full: the loss is counted
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
    event->state = TCP_NEW_SYN_RECV;
    event->type = SYNACK;
    event->segments = 1;
    event->bytes = 0;
    pt_fill_connection(event, (struct sock *)request, &connection);
    event->sport = pt_read(request->__req_common.skc_num);
    event->netns = pt_netns_of(listener);
    pt_submit(ctx, event);
    return PT_PASS;
}

#if defined(HOOK_RETRANSMIT_RAW_TRACEPOINT)
int retransmitted(struct bpf_raw_tracepoint_args *ctx)
{
    return sent_again(ctx, (struct sock *)ctx->args[0], (struct sk_buff *)ctx->args[1]);
}

int synack_retransmitted(struct bpf_raw_tracepoint_args *ctx)
{
    return answered_again(ctx, (struct sock *)ctx->args[0], (struct request_sock *)ctx->args[1]);
}
#elif defined(HOOK_RETRANSMIT_TRACEPOINT)
int retransmitted(struct tracepoint__tcp__tcp_retransmit_skb *args)
{
    return sent_again(args, (struct sock *)args->skaddr, (struct sk_buff *)args->skbaddr);
}

int synack_retransmitted(struct tracepoint__tcp__tcp_retransmit_synack *args)
{
    return answered_again(args, (struct sock *)args->skaddr, (struct request_sock *)args->req);
}
#endif
