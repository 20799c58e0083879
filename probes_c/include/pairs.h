// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Pairs of events: starts that are open until an event with the same key ends them. PT_OPEN_MAX is the number of open
// starts; with PT_NESTED the starts of one key are a stack, else a start replaces the one before. With PT_PAIR_OF_THREAD
// the key is the current task. Include it behind probe_specs.h, or a struct pt_results with what a start has.
//
//     void pt_pair_begin(key, start, total)    opens a start
//     int pt_pair_end(key, start, total, now)  takes out the latest start before "now"; 0 if there is none
//
// Only inserts and deletes that succeed are counted, by atomic additions: so the totals are exact whatever other CPUs,
// or programs that interrupt this one, do meanwhile.
#ifdef PT_NESTED
#define PT_PAIR_DEPTH 16
#else
#define PT_PAIR_DEPTH 1
#endif
#define PT_EEXIST -17

struct pt_pair_key {
    u64 key;
    u64 depth; // the number of open starts below this one
};

struct pt_start {
    u64 ns;
    u64 deeper; // starts on top of this one that did not fit into the stack
    u32 pid;
    u32 tid;
    u32 target;
    struct pt_results results;
};
BPF_HASH(pt_starts, struct pt_pair_key, struct pt_start, PT_OPEN_MAX);

struct pt_total {
    u64 starts;
    u64 pairs;
    u64 replaced;
    u64 unstarted;
    u64 open; // counted up and down: only the sum over all CPUs is a number
};
BPF_PERCPU_ARRAY(totals, struct pt_total, 1);

static __always_inline void pt_pair_begin(struct pt_pair_key *key, struct pt_start *start,
                                          struct pt_total *total)
{
    int error = 0;

    __sync_fetch_and_add(&total->starts, 1);
#pragma unroll
    for (int depth = 0; depth < PT_PAIR_DEPTH; depth++) {
        key->depth = depth;
        error = pt_starts.insert(key, start);
        if (error != PT_EEXIST)
            break;
    }
    if (error == PT_EEXIST) {
#ifdef PT_NESTED
        struct pt_start *top = pt_starts.lookup(key);

        if (top)
            __sync_fetch_and_add(&top->deeper, 1);
#else
        if (!pt_starts.delete(key)) {
            __sync_fetch_and_add(&total->replaced, 1);
            __sync_fetch_and_add(&total->open, -1);
        }
        error = pt_starts.insert(key, start);
#endif
    }
    if (error)
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    else
        __sync_fetch_and_add(&total->open, 1);
}

// The kernel uses the task_struct of a thread that ended for a new one, which did not start what that one left open. From
// its exec on a thread has the id of its process.
static __always_inline int pt_may_end(struct pt_start *start)
{
#ifdef PT_PAIR_OF_THREAD
    u64 id = bpf_get_current_pid_tgid();
    u32 pid = id >> 32, tid = id;

    return start->tid == tid || (start->pid == pid && tid == pid);
#else
    return 1;
#endif
}

static __always_inline int pt_pair_end(struct pt_pair_key *key, struct pt_start *start,
                                       struct pt_total *total, u64 now)
{
    struct pt_start *entry = 0;

#pragma unroll
    for (int above = 0; above < PT_PAIR_DEPTH; above++) {
        key->depth = PT_PAIR_DEPTH - 1 - above;
        entry = pt_starts.lookup(key);
        if (entry)
            break;
    }
#ifdef PT_NESTED
    // Below 0 if two CPUs ended the same one.
    if (entry && (s64)entry->deeper > 0) { // the end of a start that was counted as lost
        __sync_fetch_and_add(&entry->deeper, -1);
        return 0;
    }
#endif
    if (entry)
        pt_probe_read_kernel(start, sizeof(*start), entry);
    // What begins on another CPU after this end happened is not what ended.
    if (!entry || start->ns > now || !pt_may_end(start) || pt_starts.delete(key)) {
        if (pt_is_current_traced())
            __sync_fetch_and_add(&total->unstarted, 1);
        return 0;
    }
    __sync_fetch_and_add(&total->pairs, 1);
    __sync_fetch_and_add(&total->open, -1);
    return 1;
}
