// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show sockets of cgroups as they are created, bound, connected and sent by, with the addresses that programs pass.
//
// The kernel asks each program for a verdict, in the task that makes the call. The programs allow everything.
#include "event_kinds.h"
#include "task.h"

#define ALLOW  1
#define INET   2 // AF_INET, AF_INET6: macros, and so absent from BTF
#define INET6  10
#define NOBODY 0xff // each byte of a missing address

struct event {
    u64 ns;
    u32 pid;
    u32 call;
    u32 family;
    u32 type;
    u32 protocol;
    s32 port; // -1: none
    u8 address[16];
    char comm[PT_COMM_LEN];
};
#include "stream.h"

enum call { SOCKET, BIND, BOUND, CONNECT, SEND };

// Reserve an event and fill in all but its address and port; 0 if it is filtered, or the ring is full.
static __always_inline struct event *begin(enum call call, u32 family, u32 type, u32 protocol)
{
    struct event *event;

    if (!pt_is_shown(call) || !pt_is_current_traced())
        return 0;
    event = pt_reserve();
    if (!event)
        return 0;
    event->ns = bpf_ktime_get_ns();
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->call = call;
    event->family = family;
    event->type = type;
    event->protocol = protocol;
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
    return event;
}

static __always_inline void end4(void *ctx, struct event *event, u32 address, u32 port)
{
    __builtin_memset(event->address, 0, 10);
    event->address[10] = event->address[11] = 0xff; // mapped (RFC 4291)
    __builtin_memcpy(event->address + 12, &address, 4);
    event->port = port;
    pt_submit(ctx, event);
}

// The verifier allows reads of the four words of an address one by one; the compiler must not merge two reads.
static __always_inline void end6(void *ctx, struct event *event, volatile u32 *words, u32 port)
{
    u32 address[4] = {words[0], words[1], words[2], words[3]};

    __builtin_memcpy(event->address, address, sizeof(address));
    event->port = port;
    pt_submit(ctx, event);
}

int made(struct bpf_sock *sock)
{
    struct event *event = begin(SOCKET, sock->family, sock->type, sock->protocol);

    if (event) {
        __builtin_memset(event->address, NOBODY, sizeof(event->address));
        event->port = -1;
        pt_submit(sock, event);
    }
    return ALLOW;
}

int bound4(struct bpf_sock *sock)
{
    struct event *event = begin(BOUND, INET, sock->type, sock->protocol);

    if (event)
        end4(sock, event, sock->src_ip4, sock->src_port);
    return ALLOW;
}

int bound6(struct bpf_sock *sock)
{
    struct event *event = begin(BOUND, INET6, sock->type, sock->protocol);

    if (event)
        end6(sock, event, sock->src_ip6, sock->src_port);
    return ALLOW;
}

static __always_inline int on_address4(struct bpf_sock_addr *addr, enum call call)
{
    struct event *event = begin(call, INET, addr->type, addr->protocol);

    if (event)
        end4(addr, event, addr->user_ip4, __builtin_bswap16(addr->user_port));
    return ALLOW;
}

static __always_inline int on_address6(struct bpf_sock_addr *addr, enum call call)
{
    struct event *event = begin(call, INET6, addr->type, addr->protocol);

    if (event)
        end6(addr, event, addr->user_ip6, __builtin_bswap16(addr->user_port));
    return ALLOW;
}

int bind4(struct bpf_sock_addr *addr)
{
    return on_address4(addr, BIND);
}

int bind6(struct bpf_sock_addr *addr)
{
    return on_address6(addr, BIND);
}

int connect4(struct bpf_sock_addr *addr)
{
    return on_address4(addr, CONNECT);
}

int connect6(struct bpf_sock_addr *addr)
{
    return on_address6(addr, CONNECT);
}

int send4(struct bpf_sock_addr *addr)
{
    return on_address4(addr, SEND);
}

int send6(struct bpf_sock_addr *addr)
{
    return on_address6(addr, SEND);
}
