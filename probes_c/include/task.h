// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Selects the traced tasks: the common filters (a task must match one value of each kind of filter), and -- COMMAND
// with its descendants. Filters that the user did not give are not compiled, so they cost nothing.
//
//     int pt_is_current_traced(void)    1 if the current task passes the filters and belongs to the command
//     int pt_may_trace_current(void)    the same, and 1 for the command before its exec
//     int pt_passes_netns(u32 netns)    1 if --netns selects this network namespace
//     pt_fill_task(event)               fills the members pid, tid and comm, those of the current task
//     void pt_process_name(char *comm)  writes the name of the current process, PT_COMM_LEN bytes
#include "loss.h"
#include "read.h"
#include <linux/nsproxy.h>
#if __has_include(<linux/sched/signal.h>) // before Linux 4.11 it is in linux/sched.h
#include <linux/sched/signal.h>
#endif
#include <net/net_namespace.h>

#define PT_SET_MAX 4096

#ifdef PT_FILTER_PID
BPF_HASH(pt_pids, u32, u8, PT_SET_MAX);
#define PT_ONLY_PROCESS 0x7079547261636505ULL // pytracer.bpf.image.ONLY_PROCESS

// Return 1 if -p selects a process. If it names a single one the loader puts its id here, else 0.
static __always_inline int pt_passes_pid(u32 tgid)
{
    u64 process_only = PT_ONLY_PROCESS;

    pt_opaque(process_only);
    return process_only ? tgid == process_only : pt_pids.lookup(&tgid) != 0;
}
#endif
#ifdef PT_FILTER_TID
BPF_HASH(pt_tids, u32, u8, PT_SET_MAX);
#endif
#ifdef PT_FILTER_UID
BPF_HASH(pt_uids, u32, u8, PT_SET_MAX);
#endif
#ifdef PT_FILTER_COMM
struct pt_comm {
    char name[PT_COMM_LEN];
};
BPF_HASH(pt_comms, struct pt_comm, u8, PT_SET_MAX);
#endif
#ifdef PT_FILTER_NETNS
BPF_HASH(pt_netnss, u32, u8, PT_SET_MAX);
#endif
#ifdef PT_FILTER_MNTNS
#include "mntns.h"
BPF_HASH(pt_mntnss, u32, u8, PT_SET_MAX);
#endif
#ifdef PT_FILTER_CGROUP
BPF_CGROUP_ARRAY(pt_cgroups, PT_FILTER_CGROUP);
#endif
#ifdef PT_FOLLOW
// The command and its descendants by process id. The command is PT_PENDING until it has executed, so
// that nothing of the launcher before it is counted. A process is followed until the kernel frees it: its
// threads may exit at the same time on several CPUs, and none of them knows that it is the last to be seen.
BPF_HASH(pt_followed_pids, u32, u8, PT_FOLLOW);
#endif

// 1 if a filter selects tasks: events that no task caused are then not shown.
#if defined(PT_FILTER_PID) || defined(PT_FILTER_TID) || defined(PT_FILTER_UID) || defined(PT_FILTER_COMM) || \
    defined(PT_FILTER_MNTNS) || defined(PT_FILTER_CGROUP) || defined(PT_FOLLOW)
#define PT_FILTERS_TASKS 1
#else
#define PT_FILTERS_TASKS 0
#endif

// Fill in the members pid, tid and comm of an event, those of the current task.
#define pt_fill_task(event)                                                                                  \
    ({                                                                                                       \
        u64 id_ = bpf_get_current_pid_tgid();                                                                \
        (event)->pid = id_ >> 32;                                                                            \
        (event)->tid = id_;                                                                                  \
        bpf_get_current_comm(&(event)->comm, sizeof((event)->comm));                                         \
    })

// The name of the process that runs: that of its first thread.
static __always_inline void pt_process_name(char *comm)
{
    struct task_struct *leader = pt_current_field(group_leader);

#ifdef PT_HAS_TASK_BTF
    __builtin_memcpy(comm, leader->comm, PT_COMM_LEN);
#else
    pt_probe_read_kernel(comm, PT_COMM_LEN, &leader->comm);
#endif
}

// Return 1 if --netns selects this network namespace. A tracer of sockets passes the socket's, and defines
// PT_NETNS_OF_SOCKET so that the task's is not tested.
static __always_inline int pt_passes_netns(u32 netns)
{
#ifdef PT_FILTER_NETNS
    return pt_netnss.lookup(&netns) != 0;
#else
    return 1;
#endif
}

enum pt_trace_state {
    PT_NOT_TRACED,
    PT_PENDING,
    PT_TRACED,
};

static __always_inline enum pt_trace_state pt_followed(void)
{
#ifdef PT_FOLLOW
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    u8 *state = pt_followed_pids.lookup(&tgid);

    return state ? *state : PT_NOT_TRACED;
#else
    return PT_TRACED;
#endif
}

// pytracer itself and the helpers that it starts are not traced. Its pid is in a map, so that compiled programs serve
// every run. Not compiled with -p, --tid or a command: these select tasks by id already.
#if !defined(PT_FILTER_PID) && !defined(PT_FILTER_TID) && !defined(PT_FOLLOW)
#define PT_HIDES_TRACER
struct pt_tracer {
    u32 tgid;    // 0: nothing is excluded
    u32 command; // the child that is traced
};
BPF_ARRAY(pt_tracer, struct pt_tracer, 1);

static __always_inline int pt_is_tracer(u32 tgid, u32 parent)
{
    int zero = 0;
    struct pt_tracer *tracer = pt_tracer.lookup(&zero);

    if (!tracer || !tracer->tgid || tgid == tracer->command)
        return 0;
    return tgid == tracer->tgid || parent == tracer->tgid;
}
#endif

// The state of the current task: the filters, then the command.
static __always_inline enum pt_trace_state pt_trace_state(void)
{
#ifdef PT_FILTER_PID
    if (!pt_passes_pid(bpf_get_current_pid_tgid() >> 32))
        return PT_NOT_TRACED;
#endif
#ifdef PT_FILTER_TID
    u32 tid = bpf_get_current_pid_tgid();
    if (!pt_tids.lookup(&tid))
        return PT_NOT_TRACED;
#endif
#ifdef PT_FILTER_UID
    u32 uid = bpf_get_current_uid_gid();
    if (!pt_uids.lookup(&uid))
        return PT_NOT_TRACED;
#endif
#ifdef PT_FILTER_COMM
    struct pt_comm comm = {};
    bpf_get_current_comm(&comm.name, sizeof(comm.name));
    if (!pt_comms.lookup(&comm))
        return PT_NOT_TRACED;
#endif
#if (defined(PT_FILTER_NETNS) && !defined(PT_NETNS_OF_SOCKET)) || defined(PT_FILTER_MNTNS)
    // An exiting task has already put its namespaces: the reads then return 0, which no filter selects.
    struct nsproxy *nsproxy = pt_current_field(nsproxy);
#endif
#if defined(PT_FILTER_NETNS) && !defined(PT_NETNS_OF_SOCKET)
    struct net *net_ns = pt_read(nsproxy->net_ns);
    if (!pt_passes_netns(pt_read(net_ns->ns.inum)))
        return PT_NOT_TRACED;
#endif
#ifdef PT_FILTER_MNTNS
    u32 mntns = pt_mntns_of(nsproxy);
    if (!pt_mntnss.lookup(&mntns))
        return PT_NOT_TRACED;
#endif
#ifdef PT_FILTER_CGROUP
    int inside = 0;
#pragma unroll
    for (int i = 0; i < PT_FILTER_CGROUP; i++)
        inside |= pt_cgroups.check_current_task(i) == 1;
    if (!inside)
        return PT_NOT_TRACED;
#endif
#ifdef PT_HIDES_TRACER
    if (pt_is_tracer(bpf_get_current_pid_tgid() >> 32, pt_current_parent()))
        return PT_NOT_TRACED;
#endif
    return pt_followed();
}

// Return 1 if the current task passes the filters and, with a command, descends from it.
static __always_inline int pt_is_current_traced(void)
{
    return pt_trace_state() == PT_TRACED;
}

// Likewise, but also 1 for the command before its exec: its execve begins before it is traced and ends after.
static __always_inline int pt_may_trace_current(void)
{
    return pt_trace_state() != PT_NOT_TRACED;
}

#ifdef PT_FOLLOW
static __always_inline int pt_on_fork(u32 child)
{
    u32 parent = bpf_get_current_pid_tgid() >> 32;
    u8 *state = pt_followed_pids.lookup(&parent);
    u8 inherited = PT_TRACED;

    if (state && *state == PT_TRACED && child != parent && pt_followed_pids.update(&child, &inherited))
        pt_lost(PT_LOSS_FOLLOW_FULL);
    return PT_PASS;
}

#if defined(HOOK_FOLLOW_RAW_TRACEPOINT)
int pt_fork(u64 *ctx)
{
    struct task_struct *child = (struct task_struct *)ctx[1];

    return pt_on_fork(pt_argument(child, tgid));
}
#elif defined(HOOK_FOLLOW_TRACEPOINT)
int pt_fork(struct tracepoint__sched__sched_process_fork *args)
{
    // The trace event has only the thread id. A new thread's entry is never read (look-ups are by process), and
    // pt_free deletes it.
    return pt_on_fork(args->child_pid);
}
#endif

// From now on the kernel may reuse the id. A raw tracepoint in both alternatives: the event comes in interrupts,
// which may find a program of a trace event running, and programs of trace events exclude each other on a CPU.
int pt_free(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[0];
    u32 tid = pt_argument(task, pid);

    pt_followed_pids.delete(&tid);
    return PT_PASS;
}

int pt_exec(void *ctx)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    u8 *state = pt_followed_pids.lookup(&tgid);

    if (state)
        *state = PT_TRACED;
    return PT_PASS;
}
#endif
