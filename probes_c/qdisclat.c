// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure how long packets wait in the queues of interfaces (queueing disciplines).
#define PT_NETNS_OF_SOCKET
#include "log2.h"
#include "loops.h"
#include "loss.h"
#include "task.h"
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/sch_generic.h>

#define IN_ONE_GO 512 // the maximum number of packets that a driver gets at a time

// The time at which each packet was queued. A dropped packet's entry is deleted when the packet is freed.
BPF_HASH(queued, u64, u64, 65536);

struct row_key {
#ifdef BY_NETNS
    u32 netns;
#endif
#ifdef BY_QUEUE
    u32 queue;
#endif
    u32 slot;
#ifdef BY_INTERFACE
    char interface[PT_COMM_LEN]; // IFNAMSIZ
#endif
#ifdef BY_QDISC
    char qdisc[PT_COMM_LEN]; // IFNAMSIZ
#endif
};

struct row_value {
    u64 packets;
    u64 total_ns;
    u64 max_ns;
};
#include "rows.h"

struct batch {
    u32 index;
    u64 skb;
    struct Qdisc *qdisc;
    struct net_device *dev;
};

static __always_inline u32 pt_netns_of_device(struct net_device *dev)
{
    struct net *net = pt_read(dev->nd_net.net);

    return pt_read(net->ns.inum);
}

static __always_inline void count(struct batch *batch, u64 ns)
{
    struct row_value *row;
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_NETNS
    key.netns = pt_netns_of_device(batch->dev);
#endif
#ifdef BY_QUEUE
    key.queue = pt_read(((struct sk_buff *)batch->skb)->queue_mapping);
#endif
#ifdef BY_INTERFACE
    pt_probe_read_kernel_str(key.interface, sizeof(key.interface), &batch->dev->name);
#endif
#ifdef BY_QDISC
    const struct Qdisc_ops *ops = pt_read(batch->qdisc->ops);

    pt_probe_read_kernel_str(key.qdisc, sizeof(key.qdisc), &ops->id);
#endif
    key.slot = pt_bucket(ns);
    row = pt_row(&key);
    if (!row)
        return;
    row->packets++;
    pt_add_time(row, ns);
}

// Count one packet of a list, and continue with the next.
PT_LOOP_BODY(1, struct batch *batch)
{
    u64 *since, ns;

    if (!batch->skb)
        return 1;
    since = queued.lookup(&batch->skb);
    if (since) {
        ns = bpf_ktime_get_ns() - *since;
        queued.delete(&batch->skb);
        count(batch, ns);
    }
    batch->skb = (u64)pt_read(((struct sk_buff *)batch->skb)->next);
    return 0;
}

static __always_inline int on_queued(u64 skb, struct net_device *dev)
{
    u64 now = bpf_ktime_get_ns();

    if (pt_passes_netns(pt_netns_of_device(dev)) && queued.update(&skb, &now))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

#ifdef HOOK_QUEUE_RAW_TRACEPOINT
// qdisc_enqueue(qdisc, txq, skb): it has been queued.
int enqueued(struct bpf_raw_tracepoint_args *ctx)
{
    struct sk_buff *skb = (struct sk_buff *)ctx->args[2];

    return on_queued(ctx->args[2], pt_read(skb->dev));
}
#else
// net_dev_queue(skb): it is about to be queued, or to bypass an empty queue (started).
int enqueued(struct bpf_raw_tracepoint_args *ctx)
{
    struct sk_buff *skb = (struct sk_buff *)ctx->args[0];

    return on_queued(ctx->args[0], pt_read(skb->dev));
}
#endif

// net_dev_start_xmit(skb, dev), kfree_skb(skb, ...): it has left the queue.
int gone(struct bpf_raw_tracepoint_args *ctx)
{
    u64 skb = ctx->args[0];

    queued.delete(&skb);
    return PT_PASS;
}

// qdisc_dequeue(qdisc, txq, packets, skb): none, or a list of packets.
int dequeued(struct bpf_raw_tracepoint_args *ctx)
{
    struct netdev_queue *txq = (struct netdev_queue *)ctx->args[1];
    struct batch batch = {.skb = ctx->args[3], .qdisc = (struct Qdisc *)ctx->args[0]};

    batch.dev = pt_read(txq->dev);
    PT_LOOP_RUN(1, PT_LOOP_LIMIT(IN_ONE_GO, 32, 16), &batch);
    if (batch.skb)
        pt_lost(PT_LOSS_UNREAD);
    return PT_PASS;
}
