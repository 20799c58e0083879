// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show bind(2) and listen(2) of IPv4 and IPv6 sockets as they return, and the same operations of io_uring.
#define PT_NETNS_OF_SOCKET
#include "config.h"
#include "event_kinds.h"
#include "task.h"
#include <linux/net.h>

struct event {
    u64 ns;
    u32 pid;
    u32 tid;
    u32 error;
    u32 protocol;
    s32 backlog;
    u32 interface;
    u32 netns;
    s32 port; // -1: none
    u8 address[16];
    char call[8];
    char comm[PT_COMM_LEN];
};
#include "syscall_numbers.h"
#include "returns.h"
#include "bound_address.h"
#include "descriptor.h"
#define PT_RING_SOCKETS
#include "ring_files.h"
#include "stream.h"

enum kind { OTHER, IS_BIND, IS_LISTEN, IS_SOCKETCALL };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, bind, 49, 361, 200, 282))
        return IS_BIND;
    if (PT_IS(call, listen, 50, 363, 201, 284))
        return IS_LISTEN;
#if defined(__x86_64__)
    return call == (1ULL << 32 | 102) ? IS_SOCKETCALL : OTHER; // socketcall of i386
#else
    return OTHER;
#endif
}

// The arguments of socketcall(2) are in memory. Only 32-bit programs call it.
static __always_inline int unpack(struct pt_return *call)
{
    u32 words[3] = {}, which = call->args[0];

    if (which != 2 && which != 4) // SYS_BIND, SYS_LISTEN
        return OTHER;
    pt_probe_read_user(words, sizeof(words), (void *)call->args[1]);
    call->args[0] = words[0];
    call->args[1] = words[1];
    call->args[2] = words[2];
    return which == 2 ? IS_BIND : IS_LISTEN;
}

struct ended {
    struct file *file;
    s64 result;
    s32 backlog;
    u32 is_listen;
    struct pt_bound bound; // the requested address, for a bind that failed
};

// Show a call, or a "request" of io_uring, that has ended.
static __always_inline void show(void *ctx, struct ended *ended, struct pt_request *request)
{
    struct socket *socket = pt_socket_of(ended->file);
    struct sock *sk = socket ? pt_read(socket->sk) : 0;
    struct net *net = sk ? pt_read(sk->__sk_common.skc_net.net) : 0;
    u32 family = sk ? pt_read(sk->__sk_common.skc_family) : 0;
    struct event *event;

    if ((family != PT_AF_INET && family != PT_AF_INET6) || !pt_passes_netns(pt_read(net->ns.inum)))
        return;
    if (ended->is_listen || ended->result >= 0)
        pt_fill_bound(&ended->bound, sk, family);
    if (pt_cfg(PT_CFG_PORT) && ended->bound.port != pt_cfg(PT_CFG_PORT))
        return;
    event = pt_reserve();
    if (!event)
        return;
    __builtin_memset(event, 0, sizeof(*event));
    event->ns = bpf_ktime_get_ns();
    pt_fill_task(event);
    if (request) {
        event->pid = request->pid;
        event->tid = request->tid;
        __builtin_memcpy(event->comm, request->comm, sizeof(event->comm));
    }
    if (ended->is_listen)
        __builtin_memcpy(event->call, "listen", 7);
    else
        __builtin_memcpy(event->call, "bind", 5);
    event->error = ended->result < 0 ? -ended->result : 0;
    event->protocol = pt_socket_protocol(sk);
    event->backlog = ended->is_listen ? ended->backlog : -1;
    event->interface = pt_read(sk->__sk_common.skc_bound_dev_if);
    event->netns = pt_read(net->ns.inum);
    event->port = ended->bound.port;
    __builtin_memcpy(event->address, ended->bound.address, sizeof(event->address));
    pt_submit(ctx, event);
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct ended ended = {.result = call->ret, .bound = PT_NOT_BOUND};
    int kind = kind_of(call->call);

    if (kind == IS_SOCKETCALL)
        kind = unpack(call);
    if (!kind || !pt_is_shown(kind == IS_LISTEN) || !pt_is_shown_return(call))
        return PT_PASS;
    ended.file = pt_file_of(call->args[0]);
    ended.is_listen = kind == IS_LISTEN;
    ended.backlog = call->args[1];
    if (!ended.is_listen && call->ret < 0)
        pt_fill_asked(&ended.bound, call->args[1], 0);
    show(ctx, &ended, 0);
    return PT_PASS;
}

#ifdef PT_SEES_RING_FILES
static __always_inline void on_ring_file(void *ctx, struct pt_request *request, enum pt_ring_kind kind,
                                         struct file *file, u64 ns, s64 result)
{
#if PT_HAS_io_listen__backlog
    struct ended ended = {.file = file, .result = result, .bound = PT_NOT_BOUND};
    struct pt_bound *requested = pt_ring_asked.lookup(&request->address);

#ifdef FAILED
    if (!pt_is_failed(result))
        return;
#endif
    ended.is_listen = kind == PT_RING_LISTENS;
    if (!ns || !pt_is_shown(ended.is_listen))
        return;
    ended.backlog = pt_read(((struct io_listen *)request->address)->backlog);
    if (requested)
        ended.bound = *requested;
    show(ctx, &ended, request);
#endif
}
#endif
