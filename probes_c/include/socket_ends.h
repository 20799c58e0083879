// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Both ends of a socket that somebody else uses meanwhile: Internet, UNIX and netlink sockets.
//
//     PT_SOCKET_ENDS                                               members of a record: what is known of a socket.
//                                                                  Not known: a port or state of -1, an address of 0xff
//     void pt_read_ends(struct pt_socket_ends *ends, struct sock *sk)  fills these in; "protocol" has the family above it
//
// The peer is read twice. If the socket was connected to another in between, the ends of two connections could be
// taken for one: then it has none.
#include "inet_addresses.h"
#include "sock_kind.h"
#include <linux/netlink.h>
#include <linux/un.h>
#include <net/af_unix.h>
#include <net/tcp_states.h>

#define PT_AF_UNIX       1 // macros, as are AF_NETLINK, SOCK_RAW
#define PT_AF_NETLINK    16
#define PT_SOCK_RAW      3
#define PT_UNIX_NAME     108 // UNIX_PATH_MAX
#define PT_UNIX_NAME_LEN 112

#define PT_SOCKET_ENDS                                                                                       \
    u32 family;                                                                                              \
    u32 socket_type;                                                                                         \
    u32 protocol;                                                                                            \
    s32 state;                                                                                               \
    s64 sport;                                                                                               \
    s64 dport;                                                                                               \
    u8 saddr[16];                                                                                            \
    u8 daddr[16];                                                                                            \
    char name[PT_UNIX_NAME_LEN];                                                                             \
    char peer_name[PT_UNIX_NAME_LEN]

struct pt_socket_ends {
    PT_SOCKET_ENDS;
};

struct pt_peer {
    u64 source[2];
    u64 target[2];
    u32 port;
    s32 state;
};

static __always_inline void pt_read_peer(struct pt_peer *peer, struct sock *sk)
{
    peer->state = pt_read(sk->__sk_common.skc_state);
    pt_addresses(sk, (u8 *)peer->source, (u8 *)peer->target);
    peer->port = pt_target_port(sk);
}

static __always_inline void pt_inet_ends(struct pt_socket_ends *ends, struct sock *sk)
{
    int is_raw = ends->socket_type == PT_SOCK_RAW; // which has its protocol in place of a port
    struct pt_peer peer, again;

    pt_read_peer(&peer, sk);
    pt_read_peer(&again, sk);
    ends->state = again.state;
    __builtin_memcpy(ends->saddr, again.source, 16);
    if (!is_raw)
        ends->sport = pt_source_port(sk);
    if (peer.state != again.state || peer.port != again.port || peer.target[0] != again.target[0] ||
        peer.target[1] != again.target[1])
        return;
    // As getpeername(2): a closed socket has the address of its last peer still.
    if (again.state == TCP_CLOSE || again.state == TCP_LISTEN || !(again.port || is_raw))
        return;
    __builtin_memcpy(ends->daddr, again.target, 16);
    if (!is_raw)
        ends->dport = again.port;
}

#if PT_HAS_unix_sock__addr
// Copy the name of a UNIX socket: a path, or "@" and an abstract name.
static __always_inline void pt_unix_name(char *name, struct sock *sk)
{
    struct unix_address *address = pt_read(((struct unix_sock *)sk)->addr);
    u64 size = address ? (u32)pt_read(address->len) : 0;
    char *from = (char *)&address->name + 2; // sun_path

    if (size <= 2) // sun_family alone
        return;
    size -= 2;
    pt_opaque(size);
    if (size > PT_UNIX_NAME)
        size = PT_UNIX_NAME;
    pt_probe_read_kernel(name, size, from);
    if (!name[0])
        name[0] = '@';
}

static __always_inline void pt_unix_ends(struct pt_socket_ends *ends, struct sock *sk)
{
    struct unix_sock *unix_socket = (struct unix_sock *)sk;
    struct sock *peer = pt_read(unix_socket->peer);

    ends->state = pt_read(sk->__sk_common.skc_state);
    pt_unix_name(ends->name, sk);
    if (!peer)
        return;
    pt_unix_name(ends->peer_name, peer);
    if (pt_read(unix_socket->peer) != peer) // which may be another socket now
        __builtin_memset(ends->peer_name, 0, sizeof(ends->peer_name));
}
#endif

static __always_inline void pt_read_ends(struct pt_socket_ends *ends, struct sock *sk)
{
    __builtin_memset(ends, 0, sizeof(*ends));
    __builtin_memset(ends->saddr, 0xff, sizeof(ends->saddr));
    __builtin_memset(ends->daddr, 0xff, sizeof(ends->daddr));
    ends->state = ends->sport = ends->dport = -1;
    ends->family = pt_read(sk->__sk_common.skc_family);
    ends->socket_type = pt_socket_type(sk);
    ends->protocol = ends->family << 16 | pt_socket_protocol(sk);
    if (ends->family == PT_AF_INET || ends->family == PT_AF_INET6)
        pt_inet_ends(ends, sk);
#if PT_HAS_unix_sock__addr
    else if (ends->family == PT_AF_UNIX)
        pt_unix_ends(ends, sk);
#endif
#if PT_HAS_netlink_sock__portid
    else if (ends->family == PT_AF_NETLINK) {
        ends->sport = pt_read(((struct netlink_sock *)sk)->portid);
        ends->dport = pt_read(((struct netlink_sock *)sk)->dst_portid);
    }
#endif
}
