// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Owners of sockets, for programs on packets of cgroups: pt_sent_by(skb, is_tcp) for a packet that leaves a socket,
// pt_owner_of(sk) for who owns one.
//
// A packet leaves a UDP socket in the task that sends it, and a TCP socket in the task that has it locked, if any;
// packets come while any task runs. So the owner is who sent by it last, else who made it, or has it open as the trace
// begins.
#define PT_NETNS_OF_SOCKET
#include "other_task.h"
#include <linux/fs.h>
#include <net/inet_sock.h>
#include <net/net_namespace.h>
#include <net/sock.h>

struct pt_owner {
    u32 pid;
    u32 is_traced;
    char comm[PT_COMM_LEN];
};
// By the inode number of a socket, which the kernel does not give again soon. The oldest gives way.
BPF_TABLE("lru_hash", u64, struct pt_owner, pt_owners, 65536);

// 0: it is not accepted yet, or closed.
static __always_inline u64 pt_inode_of(struct sock *sk)
{
    struct socket *socket = pt_read(sk->sk_socket);

    return socket ? pt_read(((struct socket_alloc *)socket)->vfs_inode.i_ino) : 0;
}

static __always_inline void pt_set_owner(u64 inode, struct task_struct *task)
{
    struct pt_owner owner = {};

    if (!inode || pt_read(task->flags) & 0x00200000) // PF_KTHREAD
        return;
    owner.is_traced = pt_is_traced(task);
    owner.pid = pt_read(task->tgid);
    pt_probe_read_kernel(&owner.comm, sizeof(owner.comm), &task->comm);
    pt_owners.update(&inode, &owner);
}

static __always_inline struct sock *pt_sock_of(struct __sk_buff *skb)
{
    return pt_read(((struct sk_buff *)skb)->sk);
}

static __always_inline u32 pt_netns_of(struct sock *sk)
{
    struct net *net = pt_read(sk->__sk_common.skc_net.net);

    return pt_read(net->ns.inum);
}

static __always_inline struct pt_owner *pt_owner_of(struct sock *sk)
{
    u64 inode = pt_inode_of(sk);

    return pt_owners.lookup(&inode);
}

// Fill in the members pid, is_traced and comm, if there is an owner.
#define pt_fill_owner(event, sk)                                                                             \
    ({                                                                                                       \
        struct pt_owner *owner_ = pt_owner_of(sk);                                                           \
        if (owner_) {                                                                                        \
            (event)->pid = owner_->pid;                                                                      \
            (event)->is_traced = owner_->is_traced;                                                          \
            __builtin_memcpy((event)->comm, owner_->comm, PT_COMM_LEN);                                      \
        }                                                                                                    \
    })

static __always_inline void pt_sent_by(struct sock *sk, int is_tcp)
{
    if (!is_tcp || pt_read(sk->sk_lock.owned))
        pt_set_owner(pt_inode_of(sk), pt_current());
}

// A socket is made, in the task that makes it: the kernel asks for a verdict.
int created(struct bpf_sock *sock)
{
    pt_set_owner(pt_inode_of((struct sock *)sock), pt_current());
    return 1;
}

#ifdef HOOK_OPEN_SOCKETS_ITERATOR
// bpf_iter_task_file(meta, task, fd, file)
int owned(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[1];
    struct file *file = (struct file *)ctx[3];
    struct inode *inode;
    u64 number;

    if (!task || !file) // at the end there is neither
        return 0;
    inode = pt_read(file->f_inode);
    number = pt_read(inode->i_ino);
    if ((pt_read(inode->i_mode) & 0170000) == 0140000 && !pt_owners.lookup(&number)) // S_IFMT, S_IFSOCK
        pt_set_owner(number, task);
    return 0;
}
#endif
