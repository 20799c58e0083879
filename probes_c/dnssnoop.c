// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show DNS messages as they leave and reach sockets, and the latency of answers.
#include "config.h"
#include "packet_owners.h"
#include "skb.h"

#include "ip.h"

#include "dns.h"

#define PASS 1

enum direction { IN, OUT };
enum messages { BOTH, QUERIES, ANSWERS };

struct event {
    u64 ns;
    s64 latency_ns; // -1: none
    u32 pid;
    u32 is_answer;
    u32 direction;
    s32 code; // -1: none
    s32 answers;
    u32 protocol;
    u32 port;
    u32 netns;
    u8 peer[16];
    char comm[PT_COMM_LEN];
    u8 question[PT_DNS_QUESTION] __attribute__((aligned(8)));
};
#define PT_RECORDS 2
#include "stream.h"

// Questions that wait for their answer. The oldest is evicted: its answer is then shown without a latency.
struct query {
    u64 socket;
    u64 question;
    u8 peer[16];
    u32 port;
    u32 id;
};
BPF_TABLE("lru_hash", struct query, u64, pending, 16384);

// Return the time since the same question was sent; -1 if unknown.
static __always_inline s64 match(struct query *query, int is_answer, u64 now)
{
    u64 *since = pending.lookup(query), ns;

    if (!is_answer) {
        if (!since) // a question that is sent again waits since the first time
            pending.update(query, &now);
        return -1;
    }
    if (!since)
        return -1;
    ns = now - *since;
    pending.delete(query);
    return ns;
}

static __always_inline int passes(struct __sk_buff *skb, enum direction direction)
{
    struct sock *sk = pt_sock_of(skb);
    u64 now = bpf_ktime_get_ns(), messages = pt_cfg(PT_CFG_MESSAGES);
    struct query query = {};
    struct pt_dns message;
    struct pt_owner *owner;
    struct event *event;

    if (!pt_passes_netns(pt_netns_of(sk)) || !pt_dns_find(skb, pt_cfg(PT_CFG_PORT), &message))
        return PASS;
    if (direction == OUT)
        pt_sent_by(sk, message.is_tcp);
    owner = pt_owner_of(sk);
    if (owner ? !owner->is_traced : PT_FILTERS_TASKS)
        return PASS;
    event = pt_reserve();
    if (!event)
        return PASS;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = now;
    event->is_answer = !!(message.header[2] & PT_DNS_ANSWERS);
    event->direction = direction;
    event->code = event->is_answer ? message.header[3] & 15 : -1;
    event->answers = event->is_answer ? pt_read_u16(message.header + 6) : -1;
    event->protocol = message.is_tcp ? TCP : UDP;
    event->port = direction == OUT ? message.dport : message.sport;
    event->netns = pt_netns_of(sk);
    pt_packet_peer(skb, direction == OUT, event->peer);
    if (owner) {
        event->pid = owner->pid;
        __builtin_memcpy(event->comm, owner->comm, sizeof(event->comm));
    }
    query.socket = bpf_get_socket_cookie(skb);
    query.question = pt_dns_question(skb, &message, (u64 *)event->question);
    __builtin_memcpy(query.peer, event->peer, sizeof(query.peer));
    query.port = event->port;
    query.id = pt_read_u16(message.header);
    event->latency_ns = match(&query, event->is_answer, now);
    if ((!message.is_whole && event->latency_ns < 0) ||
        (messages != BOTH && messages != QUERIES + event->is_answer) ||
#ifdef FAILED
        event->code <= 0 ||
#endif
        (pt_cfg(PT_CFG_MIN) && event->latency_ns < (s64)pt_cfg(PT_CFG_MIN)))
        pt_discard(event);
    else
        pt_submit(skb, event);
    return PASS;
}

int incoming(struct __sk_buff *skb)
{
    return passes(skb, IN);
}

int outgoing(struct __sk_buff *skb)
{
    return passes(skb, OUT);
}
