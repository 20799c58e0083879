// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Owners of TCP connections. The tracer that includes this defines on_change(context, sk, old, new, connection,
// now), called for each change of state of a traced connection.
//
// States change, packets come and timers fire while any task runs. So an owner is taken down where its own task
// runs: as it listens, begins to connect, accepts, or closes what is not known. Owners of sockets that are older
// than the trace are those who have them open as it begins.
#define PT_NETNS_OF_SOCKET
#include "other_task.h"

static int on_state(void *ctx, struct sock *sk, int old, int new);
static int on_accept(void *ctx, struct sock *sk);
#include "tcp.h"

#define PT_IFMT   0170000 // S_IFMT, S_IFSOCK: macros
#define PT_IFSOCK 0140000

struct pt_connection {
    u64 opened_ns;  // when it was established; 0: not yet, or before the trace
    u64 changed_ns; // when it came into its state; 0: before the trace
    u32 pid;        // 0: no process, or not known
    u32 is_owned;   // by a task that is traced
    char comm[PT_COMM_LEN];
};
// By the sock; deleted when it is closed, before its memory is used again.
BPF_HASH(connections, u64, struct pt_connection, 65536);

static void on_change(void *ctx, struct sock *sk, int old, int new, struct pt_connection *connection,
                      u64 now);

// Make the running task the owner, if it is traced. The kernel's own connections are no process's.
static __always_inline void pt_make_owner(struct pt_connection *connection)
{
    if (pt_task() != PT_YES)
        return;
    connection->is_owned = 1;
    if (pt_is_kernel_thread())
        return;
    connection->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&connection->comm, sizeof(connection->comm));
}

// Whether events of a connection are asked for: a filter by process asks for an owner.
static __always_inline int pt_is_shown_for(struct pt_connection *connection)
{
    return connection->is_owned || !PT_ASKS_WHO;
}

// The connection of a sock, of which nothing may be known; 0 if it is not asked for.
static __always_inline int pt_find_connection(struct sock *sk, struct pt_connection *connection)
{
    u64 key = (u64)sk;
    struct pt_connection *known = connections.lookup(&key);

    __builtin_memset(connection, 0, sizeof(*connection));
    if (known)
        *connection = *known;
    return pt_is_shown_for(connection) && pt_is_ours(sk);
}

static __always_inline int on_state(void *ctx, struct sock *sk, int old, int new)
{
    int is_active = new == TCP_SYN_SENT || new == TCP_LISTEN;
    u64 key = (u64)sk, now = bpf_ktime_get_ns();
    struct pt_connection *known, connection = {};

    if (old == new || !pt_is_tcp(sk) || !pt_is_ours(sk))
        return PT_PASS;
    known = connections.lookup(&key);
    // A sock that begins: if the end of one that was at its address has been missed.
    if (is_active || (old == TCP_LISTEN && new != TCP_CLOSE))
        known = 0;
    if (known)
        connection = *known;
    if (is_active || (!connection.is_owned && pt_is_closing(sk, old, new)))
        pt_make_owner(&connection);
    if (pt_is_shown_for(&connection))
        on_change(ctx, sk, old, new, &connection, now);
    if (new == TCP_CLOSE) {
        connections.delete(&key);
        return PT_PASS;
    }
    connection.changed_ns = now;
    if (new == TCP_ESTABLISHED)
        connection.opened_ns = now;
    if (known) { // its task may accept it meanwhile: what that writes stays
        known->changed_ns = now;
        known->opened_ns = connection.opened_ns;
        if (!known->is_owned && connection.is_owned)
            *known = connection;
    } else if (connections.update(&key, &connection)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    }
    return PT_PASS;
}

static __always_inline int on_accept(void *ctx, struct sock *sk)
{
    u64 key = (u64)sk;
    struct pt_connection *known, connection = {};

    // What was reset before it was accepted is closed already, and is not to be kept.
    if (!sk || !pt_is_tcp(sk) || !pt_is_ours(sk) || pt_read(sk->__sk_common.skc_state) == TCP_CLOSE)
        return PT_PASS;
    pt_make_owner(&connection);
    known = connections.lookup(&key);
    if (known) {
        known->pid = connection.pid;
        __builtin_memcpy(known->comm, connection.comm, sizeof(known->comm));
        known->is_owned = connection.is_owned;
    } else if (connections.update(&key, &connection)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    }
    return PT_PASS;
}

#ifdef HOOK_OPEN_SOCKETS_ITERATOR
// bpf_iter_task_file(meta, task, fd, file): each socket that is open as the trace begins, in no task's context. Of
// several processes that share one, the first keeps it.
int owned(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[1];
    struct file *file = (struct file *)ctx[3];
    struct pt_connection *known, connection = {};
    struct inode *inode;
    struct socket *socket;
    struct sock *sk;
    u64 key;

    if (!task || !file) // at the end there is neither
        return 0;
    inode = pt_read(file->f_inode);
    if ((pt_read(inode->i_mode) & PT_IFMT) != PT_IFSOCK)
        return 0;
    socket = pt_read(file->private_data);
    sk = pt_read(socket->sk);
    if (!sk || !pt_is_tcp(sk) || !pt_is_ours(sk))
        return 0;
    key = (u64)sk;
    known = connections.lookup(&key);
    if (known && (known->pid || known->is_owned))
        return 0;
    if (known)
        connection = *known;
    connection.is_owned = pt_is_traced(task);
    if (connection.is_owned || !PT_ASKS_WHO)
        connection.pid = pt_read(task->tgid);
    pt_probe_read_kernel(&connection.comm, sizeof(connection.comm), &task->comm);
    if (connections.update(&key, &connection))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    if (pt_read(sk->__sk_common.skc_state) == TCP_CLOSE) // it is closed, or has been meanwhile
        connections.delete(&key);
    return 0;
}
#endif
