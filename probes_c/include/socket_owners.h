// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Owners of sockets of any protocol: the processes that created them, from the program "created". The tracer that
// includes this adds sockets that are open when the trace begins by pt_own_open_socket(inode, task).
#include "inet_addresses.h"
#include "other_task.h"
#include <linux/fs.h>
#include <net/inet_sock.h>
#include <net/sock.h>

struct pt_owner {
    u32 pid;
    u32 is_traced;
    char comm[PT_COMM_LEN];
};
// By the inode number of a socket, which the kernel does not reuse soon. The oldest is evicted.
BPF_TABLE("lru_hash", u64, struct pt_owner, pt_owners, 65536);

// 0: it is not accepted yet, or closed.
static __always_inline u64 pt_inode_of(struct sock *sk)
{
    struct socket *socket = pt_read(sk->sk_socket);

    return socket ? pt_read(((struct socket_alloc *)socket)->vfs_inode.i_ino) : 0;
}

static __always_inline void pt_own_socket(u64 inode, struct task_struct *task)
{
    struct pt_owner owner = {};

    if (!inode || pt_read(task->flags) & 0x00200000) // PF_KTHREAD
        return;
    owner.is_traced = pt_is_traced(task);
    owner.pid = pt_read(task->tgid);
    pt_probe_read_kernel(&owner.comm, sizeof(owner.comm), &task->comm);
    pt_owners.update(&inode, &owner);
}

static __always_inline void pt_own_open_socket(u64 inode, struct task_struct *task)
{
    if (!pt_owners.lookup(&inode)) // if several processes share it, the first owns it
        pt_own_socket(inode, task);
}

static __always_inline struct pt_owner *pt_owner_of(struct sock *sk)
{
    u64 inode = pt_inode_of(sk);

    return pt_owners.lookup(&inode);
}

#if defined(HOOK_CREATED_KPROBE)
// sock_init_data(socket, sk), of sockets of all families. What accept returns does not pass here.
int created(struct pt_regs *ctx)
{
    struct socket_alloc *socket = (struct socket_alloc *)PT_REGS_PARM1(ctx);
    struct sock *sk = (struct sock *)PT_REGS_PARM2(ctx);
    u16 family = pt_read(sk->__sk_common.skc_family);

    if (socket && (family == PT_AF_INET || family == PT_AF_INET6))
        pt_own_socket(pt_read(socket->vfs_inode.i_ino), pt_current());
    return PT_PASS;
}
#elif defined(HOOK_CREATED_CGROUP_LINK) || defined(HOOK_CREATED_CGROUP_ATTACH)
// A socket is created, in the task that creates it. The return value is a verdict.
int created(struct bpf_sock *sock)
{
    pt_own_socket(pt_inode_of((struct sock *)sock), pt_current());
    return 1;
}
#endif
