// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Owners of sockets, for programs on packets of cgroups: pt_sent_by(sk, is_tcp) for a packet that leaves a socket,
// pt_owner_of(sk) for the owner of one.
//
// A packet leaves a UDP socket in the task that sends it, and a TCP socket in the task that has it locked, if any;
// packets arrive while any task runs. So the owner is the process that sent by it last, else the one that created it,
// or has it open when the trace begins.
#define PT_NETNS_OF_SOCKET
#include "socket_owners.h"
#include <net/net_namespace.h>

static __always_inline struct sock *pt_sock_of(struct __sk_buff *skb)
{
    return pt_read(((struct sk_buff *)skb)->sk);
}

static __always_inline u32 pt_netns_of(struct sock *sk)
{
    struct net *net = pt_read(sk->__sk_common.skc_net.net);

    return pt_read(net->ns.inum);
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
        pt_own_socket(pt_inode_of(sk), pt_current());
}

#ifdef HOOK_OPEN_SOCKETS_ITERATOR
// bpf_iter_task_file(meta, task, fd, file)
int owned(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[1];
    struct file *file = (struct file *)ctx[3];
    struct inode *inode;

    if (!task || !file) // both are 0 at the end
        return 0;
    inode = pt_read(file->f_inode);
    if ((pt_read(inode->i_mode) & 0170000) == 0140000) // S_IFMT, S_IFSOCK
        pt_own_open_socket(pt_read(inode->i_ino), task);
    return 0;
}
#endif
