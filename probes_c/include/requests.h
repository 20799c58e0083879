// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Block requests with their submitters. The tracer that includes this defines on_request_done(context, io, disk,
// operation), called for each completed request. With PT_SEES_ISSUE it also defines on_request_issued(context, io,
// disk, operation), called when the driver gets a request. With PT_ORIGIN_STACKS it has included stack.h.
//
// Requests are issued and completed while any task runs: an interrupt, a worker, or another process whose own request
// runs the queue. So the submitter is saved where the request is made, in the submitter's own context.
#include "cgroup_id.h"
#include "loss.h"
#include "read.h"
#include "task.h"
#include <linux/blk-cgroup.h>

struct pt_request;
static int on_insert(void *ctx, struct pt_request *request);
static int on_merge(void *ctx, struct pt_request *request);
static int on_issue(void *ctx, struct pt_request *request);
static int on_complete(void *ctx, struct pt_request *request, u32 disk, u32 operation);
#include "block.h"

#if PT_FILTERS_TASKS || defined(PT_FILTER_NETNS)
#define PT_NEEDS_SUBMITTER 1
#else
#define PT_NEEDS_SUBMITTER 0
#endif

struct pt_io {
    u64 submitted_ns; // 0: before the trace
    u64 issued_ns;    // when the driver got it, last; 0: not yet
    u64 cgroup;       // that is charged for it; 0: not known
    u64 sector;
    u32 bytes;
    u32 pid;       // 0: no process
    u32 is_hidden; // submitted by a task that is not traced
    char comm[PT_COMM_LEN];
#ifdef PT_ORIGIN_STACKS
    struct pt_stacks at;
#endif
};
// By the address of the request. The kernel allocates a disk's requests once and reuses them, so their number is
// limited.
BPF_HASH(requests, u64, struct pt_io, 65536);

static int on_request_done(void *ctx, struct pt_io *io, u32 disk, u32 operation);
#ifdef PT_SEES_ISSUE
static void on_request_issued(void *ctx, struct pt_io *io, u32 disk, u32 operation);
#endif

// The id of the cgroup (v2) that is charged for a bio; 0 if unknown.
static __always_inline u64 pt_charged_cgroup(struct bio *bio)
{
#if PT_HAS_bio__bi_blkg
    struct blkcg_gq *group = bio ? pt_read(bio->bi_blkg) : 0;
    struct blkcg *blkcg = group ? pt_read(group->blkcg) : 0;
    struct cgroup *cgroup = blkcg ? pt_read(blkcg->css.cgroup) : 0;
    struct cgroup_root *root = cgroup ? pt_read(cgroup->root) : 0;

    // Hierarchy 0 is cgroup v2. Ids of other hierarchies would be taken for those of other cgroups.
    if (!root || pt_read(root->hierarchy_id))
        return 0;
    return pt_id_of_cgroup(cgroup);
#else
    return 0;
#endif
}

// Save the current task as the submitter of a request. Returns 0 if a filter excludes it.
static __always_inline int pt_save_submitter(void *ctx, struct pt_io *io, struct bio *bio)
{
    int is_traced = pt_is_current_traced();

    if (PT_NEEDS_SUBMITTER && !is_traced)
        return 0;
    io->submitted_ns = bpf_ktime_get_ns();
    io->cgroup = pt_charged_cgroup(bio);
    io->is_hidden = !is_traced;
    if (!pt_is_kernel_thread()) {
        io->pid = bpf_get_current_pid_tgid() >> 32;
        bpf_get_current_comm(&io->comm, sizeof(io->comm));
    }
#ifdef PT_ORIGIN_STACKS
    if (is_traced && pt_get_stacks(ctx, &io->at)) // no room for the stack: the loss is counted
        io->is_hidden = 1;
#endif
    return 1;
}

#if defined(HOOK_BLOCK_SUBMIT_REQUEST)
int submitted(struct bpf_raw_tracepoint_args *ctx)
{
    struct request *request = (struct request *)ctx->args[0];
    u64 key = ctx->args[0];
    struct pt_io io = {};

    if (!pt_save_submitter(ctx, &io, pt_read(request->bio)))
        requests.delete(&key);
    else if (requests.update(&key, &io))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

static __always_inline int pt_find_submitter(struct request *request, struct pt_io *io)
{
    return 0;
}
#else
// By the address of the bio, until its request is known. If the request is missed, the entry is overwritten when the
// kernel reuses the bio's memory.
BPF_HASH(bios, u64, struct pt_io, 65536);

int submitted(struct bpf_raw_tracepoint_args *ctx)
{
#ifdef HOOK_BLOCK_SUBMIT_BIO_QUEUE
    u64 key = ctx->args[1];
#else
    u64 key = ctx->args[0];
#endif
    struct pt_io io = {};

    if (!key)
        return PT_PASS;
    if (!pt_save_submitter(ctx, &io, (struct bio *)key))
        bios.delete(&key);
    else if (bios.update(&key, &io))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

// A request begins with one bio. Others are merged in front (then bio changes) or at the end (biotail). Both before the
// request is queued happens only if the same task merges.
static __always_inline int pt_find_submitter(struct request *request, struct pt_io *io)
{
    u64 key = (u64)pt_read(request->bio);
    struct pt_io *entry = bios.lookup(&key);

    if (!entry) {
        key = (u64)pt_read(request->biotail);
        entry = bios.lookup(&key);
    }
    if (!entry)
        return 0;
    *io = *entry;
    bios.delete(&key);
    return 1;
}
#endif

// Return the entry of a request that is about to be queued or issued; 0 if it is not traced.
static __always_inline struct pt_io *pt_find_request(struct pt_request *request)
{
    struct pt_io *entry = requests.lookup(&request->at), io = {};

    if (entry)
        return entry;
#ifdef PT_ORIGIN_STACKS
    io.at.kernel_stack = io.at.user_stack = PT_STACK_NONE;
#endif
    if (!pt_find_submitter((struct request *)request->at, &io) && PT_NEEDS_SUBMITTER)
        return 0;
    if (requests.update(&request->at, &io)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
        return 0;
    }
    return requests.lookup(&request->at);
}

static __always_inline int on_insert(void *ctx, struct pt_request *request)
{
    pt_find_request(request);
    return PT_PASS;
}

// A request that was merged into another one is reused without a completion.
static __always_inline int on_merge(void *ctx, struct pt_request *request)
{
    if (pt_find_request(request))
        requests.delete(&request->at);
    return PT_PASS;
}

static __always_inline int on_issue(void *ctx, struct pt_request *at)
{
    struct request *request = (struct request *)at->at;
    struct pt_io *io = pt_find_request(at);
    u32 bytes, is_first;

    if (!io)
        return PT_PASS;
    bytes = pt_read(request->__data_len);
    is_first = !io->issued_ns;
    // A partially completed request is issued again with the rest of its bytes.
    if (is_first || bytes > io->bytes) {
        io->bytes = bytes;
        io->sector = pt_read(request->__sector);
    }
    io->issued_ns = bpf_ktime_get_ns();
#ifdef PT_SEES_ISSUE
    if (is_first && !io->is_hidden)
        on_request_issued(ctx, io, pt_disk_of(request), pt_read(request->cmd_flags) & 0xff);
#endif
    return PT_PASS;
}

static __always_inline int on_complete(void *ctx, struct pt_request *request, u32 disk, u32 operation)
{
    struct pt_io *entry = requests.lookup(&request->at), io;

    if (!entry)
        return PT_PASS;
    io = *entry;
    requests.delete(&request->at);
    // A flush without data completes without being issued: the driver gets one of the kernel's own.
    if (io.is_hidden || !io.issued_ns)
        return PT_PASS;
    return on_request_done(ctx, &io, disk, operation);
}
