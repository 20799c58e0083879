// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// TCP connections: addresses, changes of state, and accepting tasks, from the hooks that the planner chose. The tracer
// that includes this defines on_state(context, sk, old, new) and on_accept(context, sk).
#include "inet_addresses.h"
#include "sock_kind.h"
#include "syscall.h"
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/net.h>
#include <net/net_namespace.h>
#include <net/tcp_states.h>

#define PT_CLOSED_ALL 3 // SHUTDOWN_MASK, a macro and so absent from BTF

static __always_inline int pt_is_tcp(struct sock *sk)
{
    u16 family = pt_read(sk->__sk_common.skc_family);

    return (family == PT_AF_INET || family == PT_AF_INET6) && pt_socket_protocol(sk) == IPPROTO_TCP;
}

// The inode number of the socket's network namespace.
static __always_inline u32 pt_netns_of(struct sock *sk)
{
    struct net *net = pt_read(sk->__sk_common.skc_net.net);

    return pt_read(net->ns.inum);
}

#ifdef ONLY_NETWORKS
// A trie key: the IP version (4 or 6) and an IPv6 address, of which the first "bits" count.
struct pt_network {
    u32 bits;
    u32 version;
    u32 address[4];
};
BPF_LPM_TRIE(pt_networks, struct pt_network, u8, 4096);
#endif

// Return 1 if the filters of networks and network namespaces select a connection.
static __always_inline int pt_is_socket_traced(struct sock *sk)
{
#ifdef ONLY_NETWORKS
    struct pt_network other = {.bits = 8 * (sizeof(other) - sizeof(other.bits))};
    u8 own[16], *match;

    pt_addresses(sk, own, (u8 *)other.address);
    // An IPv6 socket may have an IPv4 connection.
    other.version =
        other.address[0] || other.address[1] || other.address[2] != __builtin_bswap32(0xffff) ? 6 : 4;
    match = pt_networks.lookup(&other);
#ifdef ONLY_NETWORKS_EXCEPT
    match = match ? 0 : own;
#endif
    if (!match)
        return 0;
#endif
    return pt_passes_netns(pt_netns_of(sk));
}

// Return 1 if the current task closes a connection or shuts it down for sending. If the peer resets it or it times out,
// any task may run. A connection without a socket has not been accepted.
static __always_inline int pt_is_closing(struct sock *sk, int old, int new)
{
    if (!(old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT) || !pt_read(sk->sk_socket))
        return 0;
    return new == TCP_FIN_WAIT1 || new == TCP_LAST_ACK || pt_read(sk->sk_shutdown) == PT_CLOSED_ALL;
}

#if defined(HOOK_TCP_STATE_RAW_TRACEPOINT)
int state(struct bpf_raw_tracepoint_args *ctx)
{
    return on_state(ctx, (struct sock *)ctx->args[0], ctx->args[1], ctx->args[2]);
}
#elif defined(HOOK_TCP_STATE_TRACEPOINT)
int state(struct tracepoint__sock__inet_sock_set_state *args)
{
    return on_state(args, (struct sock *)args->skaddr, args->oldstate, args->newstate);
}
#elif defined(HOOK_TCP_STATE_KPROBE)
int state(struct pt_regs *ctx)
{
    struct sock *sk = (struct sock *)PT_REGS_PARM1(ctx);

    return on_state(ctx, sk, pt_read(sk->__sk_common.skc_state), PT_REGS_PARM2(ctx));
}
#endif

#if defined(HOOK_TCP_ACCEPT_KPROBE)
// security_sock_graft(sk, parent): the accepted connection gets its socket.
int accepted(struct pt_regs *ctx)
{
    return on_accept(ctx, (struct sock *)PT_REGS_PARM1(ctx));
}
#elif defined(HOOK_TCP_ACCEPT_CALL_TRACEPOINTS) || defined(HOOK_TCP_ACCEPT_RAW_TRACEPOINT) ||                \
    defined(HOOK_TCP_ACCEPT_TRACEPOINT)
// Return 1 if a system call that returned is accept or accept4. "regs", if given, has the subcall of i386's socketcall.
// All system calls pass here, so more is read only if the number may be one of these.
static __always_inline int pt_is_accept(u32 nr, struct pt_regs *regs)
{
#if defined(__x86_64__)
    u32 subcall = 0;

    if (nr == 43 || nr == 288 || nr == (0x40000000 | 43) || nr == (0x40000000 | 288))
        return pt_call(nr) == nr;
    if (nr != 364 && nr != 102)
        return 0;
    if (nr == 102 && regs)
        subcall = pt_read(regs->bx);
    // SYS_ACCEPT, SYS_ACCEPT4 of include/uapi/linux/net.h
    return pt_call(nr) != nr && (nr == 364 || subcall == 5 || subcall == 18);
#elif defined(__aarch64__)
    return nr == 202 || nr == 242 ? pt_call(nr) == nr : (nr == 285 || nr == 366) && pt_call(nr) != nr;
#endif
}

// Return the sock of a descriptor of the current task; 0 if it is no socket, or another thread has closed it.
static __always_inline struct sock *pt_socket(u32 fd)
{
    struct files_struct *files = pt_current_field(files);
    struct fdtable *table = pt_read(files->fdt);
    struct file **open_files = pt_read(table->fd), *file = 0;
    struct socket *socket;

    if (fd >= pt_read(table->max_fds))
        return 0;
    pt_probe_read_kernel(&file, sizeof(file), open_files + fd);
    socket = pt_read(file->private_data);
    return file && pt_read(socket->file) == file ? pt_read(socket->sk) : 0;
}
#endif

#if defined(HOOK_TCP_ACCEPT_CALL_TRACEPOINTS)
// syscalls:sys_exit_accept and syscalls:sys_exit_accept4
int accepted(struct pt_call_exit *args)
{
    return args->ret < 0 ? PT_PASS : on_accept(args, pt_socket(args->ret));
}
#elif defined(HOOK_TCP_ACCEPT_RAW_TRACEPOINT)
int accepted(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
#if defined(__x86_64__)
    u32 nr = pt_read(regs->orig_ax);
#elif defined(__aarch64__)
    u32 nr = pt_read(regs->syscallno);
#endif

    if (!pt_is_accept(nr, regs) || (long)ctx->args[1] < 0)
        return PT_PASS;
    return on_accept(ctx, pt_socket(ctx->args[1]));
}
#elif defined(HOOK_TCP_ACCEPT_TRACEPOINT)
int accepted(struct tracepoint__raw_syscalls__sys_exit *args)
{
    if (!pt_is_accept(args->id, 0) || args->ret < 0)
        return PT_PASS;
    return on_accept(args, pt_socket(args->ret));
}
#endif
