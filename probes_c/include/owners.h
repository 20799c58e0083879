// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Owners of TCP connections. The tracer that includes this defines on_change(context, sk, old, new, connection,
// now), called for each change of state of a traced connection.
//
// States change, packets arrive and timers fire while any task runs. So the owner is saved where its own task runs:
// when it listens, connects, accepts, or closes a connection without a known owner. The owner of a socket that is older
// than the trace is the process that has it open when the trace begins.
#define PT_NETNS_OF_SOCKET
#include "other_task.h"

static int on_state(void *ctx, struct sock *sk, int old, int new);
static int on_accept(void *ctx, struct sock *sk);
#include "tcp.h"
#ifdef PT_OWNS_ALL_SOCKETS
#include "socket_owners.h"
#endif

#define PT_IFMT   0170000 // S_IFMT, S_IFSOCK: macros
#define PT_IFSOCK 0140000

struct pt_connection {
    u64 opened_ns;  // time of establishment; 0: not yet, or before the trace
    u64 changed_ns; // time of the last change of state; 0: before the trace
    u32 pid;        // 0: no process, or unknown
    u32 is_owned;   // by a task that is traced
    char comm[PT_COMM_LEN];
};
// By the address of the sock; deleted when it is closed, before its memory is reused.
BPF_HASH(connections, u64, struct pt_connection, 65536);

static void on_change(void *ctx, struct sock *sk, int old, int new, struct pt_connection *connection,
                      u64 now);

// Make the current task the owner, if it is traced. The kernel's own connections belong to no process.
static __always_inline void pt_set_owner(struct pt_connection *connection)
{
    if (!pt_is_current_traced())
        return;
    connection->is_owned = 1;
    if (pt_is_kernel_thread())
        return;
    connection->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&connection->comm, sizeof(connection->comm));
}

// Return 1 if events of a connection are shown: with a filter of tasks it needs a traced owner.
static __always_inline int pt_is_connection_traced(struct pt_connection *connection)
{
    return connection->is_owned || !PT_FILTERS_TASKS;
}

// Copy the connection of a sock, all zeros if unknown. Returns 0 if it is not traced.
static __always_inline int pt_find_connection(struct sock *sk, struct pt_connection *connection)
{
    u64 key = (u64)sk;
    struct pt_connection *entry = connections.lookup(&key);

    __builtin_memset(connection, 0, sizeof(*connection));
    if (entry)
        *connection = *entry;
    return pt_is_connection_traced(connection) && pt_is_socket_traced(sk);
}

static __always_inline int on_state(void *ctx, struct sock *sk, int old, int new)
{
    int is_active = new == TCP_SYN_SENT || new == TCP_LISTEN;
    u64 key = (u64)sk, now = bpf_ktime_get_ns();
    struct pt_connection *entry, connection = {};

    if (old == new || !pt_is_tcp(sk) || !pt_is_socket_traced(sk))
        return PT_PASS;
    entry = connections.lookup(&key);
    // A new sock: the entry is of an earlier one at its address whose end was missed.
    if (is_active || (old == TCP_LISTEN && new != TCP_CLOSE))
        entry = 0;
    if (entry)
        connection = *entry;
    if (is_active || (!connection.is_owned && pt_is_closing(sk, old, new)))
        pt_set_owner(&connection);
    if (pt_is_connection_traced(&connection))
        on_change(ctx, sk, old, new, &connection, now);
    if (new == TCP_CLOSE) {
        connections.delete(&key);
        return PT_PASS;
    }
    connection.changed_ns = now;
    if (new == TCP_ESTABLISHED)
        connection.opened_ns = now;
    // Verifiers of before Linux 5.0 want the pointer itself compared here, not what it was found to be above.
    pt_opaque(entry);
    if (entry) { // its task may accept it at the same time: keep the owner that on_accept writes
        entry->changed_ns = now;
        entry->opened_ns = connection.opened_ns;
        if (!entry->is_owned && connection.is_owned)
            *entry = connection;
    } else if (connections.update(&key, &connection)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    }
    return PT_PASS;
}

static __always_inline int on_accept(void *ctx, struct sock *sk)
{
    u64 key = (u64)sk;
    struct pt_connection *entry, connection = {};

    // A connection that was reset before accept is closed already: it must not be added.
    if (!sk || !pt_is_tcp(sk) || !pt_is_socket_traced(sk) || pt_read(sk->__sk_common.skc_state) == TCP_CLOSE)
        return PT_PASS;
    pt_set_owner(&connection);
    entry = connections.lookup(&key);
    if (entry) {
        entry->pid = connection.pid;
        __builtin_memcpy(entry->comm, connection.comm, sizeof(entry->comm));
        entry->is_owned = connection.is_owned;
    } else if (connections.update(&key, &connection)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    }
    return PT_PASS;
}

#ifdef PT_OWNS_ALL_SOCKETS
// Fill in who has a socket: who connected or accepted its connection, else who made it.
static __always_inline void pt_find_owner(struct sock *sk, struct pt_connection *connection)
{
    u64 key = (u64)sk;
    struct pt_connection *entry = connections.lookup(&key);
    u8 state = pt_read(sk->__sk_common.skc_state);
    struct pt_owner *owner;

    if (entry) {
        *connection = *entry;
        return;
    }
    // These are smaller: they stand for a connection that begins, or has ended.
    owner = state == TCP_NEW_SYN_RECV || state == TCP_TIME_WAIT ? 0 : pt_owner_of(sk);
    if (!owner)
        return;
    connection->pid = owner->pid;
    connection->is_owned = owner->is_traced;
    __builtin_memcpy(connection->comm, owner->comm, sizeof(owner->comm));
}
#endif

#ifdef HOOK_OPEN_SOCKETS_ITERATOR
// bpf_iter_task_file(meta, task, fd, file): each socket that is open when the trace begins. If several processes share
// a socket, the first owns it.
int owned(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[1];
    struct file *file = (struct file *)ctx[3];
    struct pt_connection *entry, connection = {};
    struct inode *inode;
    struct socket *socket;
    struct sock *sk;
    u64 key;

    if (!task || !file) // both are 0 at the end
        return 0;
    inode = pt_read(file->f_inode);
    if ((pt_read(inode->i_mode) & PT_IFMT) != PT_IFSOCK)
        return 0;
    socket = pt_read(file->private_data);
    sk = pt_read(socket->sk);
#ifdef PT_OWNS_ALL_SOCKETS
    pt_own_open_socket(pt_read(inode->i_ino), task);
#endif
    if (!sk || !pt_is_tcp(sk) || !pt_is_socket_traced(sk))
        return 0;
    key = (u64)sk;
    entry = connections.lookup(&key);
    if (entry && (entry->pid || entry->is_owned))
        return 0;
    if (entry)
        connection = *entry;
    connection.is_owned = pt_is_traced(task);
    if (connection.is_owned || !PT_FILTERS_TASKS)
        connection.pid = pt_read(task->tgid);
    pt_probe_read_kernel(&connection.comm, sizeof(connection.comm), &task->comm);
    if (connections.update(&key, &connection))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    if (pt_read(sk->__sk_common.skc_state) == TCP_CLOSE) // it may have been closed in between
        connections.delete(&key);
    return 0;
}
#endif
