// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Requests to disks, and who made them. The tracer that includes this defines on_done(context, io, disk,
// operation), for each request that has come back; for PT_ORIGIN_STACKS it has included stack.h, for
// PT_SEES_ISSUE it defines on_given(context, io, disk, operation), for each that its driver gets.
//
// Drivers get requests, and give them back, in whatever task runs: an interrupt, a worker, another process whose
// own request runs the queue. So the maker is taken down where the request is made, in the maker's own context.
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

#if PT_ASKS_WHO || defined(PT_FILTER_NETNS)
#define PT_WANTS_MAKER 1
#else
#define PT_WANTS_MAKER 0
#endif

struct pt_io {
    u64 made_ns;   // 0: before the trace
    u64 issued_ns; // when the driver got it, last; 0: not yet
    u64 cgroup;    // that is charged for it; 0: not known
    u64 sector;
    u32 bytes;
    u32 pid;       // 0: no process
    u32 is_hidden; // made by a task that is not traced
    char comm[PT_COMM_LEN];
#ifdef PT_ORIGIN_STACKS
    struct pt_stacks at;
#endif
};
// By the request. The kernel makes a disk's requests once and uses them again: they cannot become many.
BPF_HASH(requests, u64, struct pt_io, 65536);

static int on_done(void *ctx, struct pt_io *io, u32 disk, u32 operation);
#ifdef PT_SEES_ISSUE
static void on_given(void *ctx, struct pt_io *io, u32 disk, u32 operation);
#endif

// The id of the cgroup (v2) that is charged for a bio; 0 if that is not known.
static __always_inline u64 pt_charged(struct bio *bio)
{
#if PT_HAS_bio__bi_blkg
    struct blkcg_gq *group = bio ? pt_read(bio->bi_blkg) : 0;
    struct blkcg *blkcg = group ? pt_read(group->blkcg) : 0;
    struct cgroup *cgroup = blkcg ? pt_read(blkcg->css.cgroup) : 0;
    struct cgroup_root *root = cgroup ? pt_read(cgroup->root) : 0;
    struct kernfs_node *node;

    // Of another hierarchy than that of cgroup v2, which is 0, ids would be taken for those of other cgroups.
    if (!root || pt_read(root->hierarchy_id))
        return 0;
    node = pt_read(cgroup->kn);
    return pt_read(node->id);
#else
    return 0;
#endif
}

// Take down who makes a request: the task that runs. Returns 0 if it is nobody that is asked for.
static __always_inline int pt_take_down(void *ctx, struct pt_io *io, struct bio *bio)
{
    int is_traced = pt_task() == PT_YES;

    if (PT_WANTS_MAKER && !is_traced)
        return 0;
    io->made_ns = bpf_ktime_get_ns();
    io->cgroup = pt_charged(bio);
    io->is_hidden = !is_traced;
    if (!pt_is_kernel_thread()) {
        io->pid = bpf_get_current_pid_tgid() >> 32;
        bpf_get_current_comm(&io->comm, sizeof(io->comm));
    }
#ifdef PT_ORIGIN_STACKS
    if (is_traced && pt_where(ctx, &io->at)) // no room for the stack: the loss is counted
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

    if (!pt_take_down(ctx, &io, pt_read(request->bio)))
        requests.delete(&key);
    else if (requests.update(&key, &io))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

static __always_inline int pt_find_maker(struct request *request, struct pt_io *io)
{
    return 0;
}
#else
// By the bio, until its request is known. A bio is deleted when its request is; one of a request that went
// unseen is overwritten when the kernel uses its memory again.
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
    if (!pt_take_down(ctx, &io, (struct bio *)key))
        bios.delete(&key);
    else if (bios.update(&key, &io))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

// A request begins with one bio. Others are merged before it (bio changes) or behind it (biotail does), both
// before it is queued only if the task itself does that.
static __always_inline int pt_find_maker(struct request *request, struct pt_io *io)
{
    u64 key = (u64)pt_read(request->bio);
    struct pt_io *known = bios.lookup(&key);

    if (!known) {
        key = (u64)pt_read(request->biotail);
        known = bios.lookup(&key);
    }
    if (!known)
        return 0;
    *io = *known;
    bios.delete(&key);
    return 1;
}
#endif

// A request that is about to be queued or given to its driver; 0 if it is nobody's that is asked for.
static __always_inline struct pt_io *pt_find(struct pt_request *request)
{
    struct pt_io *known = requests.lookup(&request->at), io = {};

    if (known)
        return known;
#ifdef PT_ORIGIN_STACKS
    io.at.kernel_stack = io.at.user_stack = PT_STACK_NONE;
#endif
    if (!pt_find_maker((struct request *)request->at, &io) && PT_WANTS_MAKER)
        return 0;
    if (requests.update(&request->at, &io)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
        return 0;
    }
    return requests.lookup(&request->at);
}

static __always_inline int on_insert(void *ctx, struct pt_request *request)
{
    pt_find(request);
    return PT_PASS;
}

// What has become part of another request is used again without having come back.
static __always_inline int on_merge(void *ctx, struct pt_request *request)
{
    if (pt_find(request))
        requests.delete(&request->at);
    return PT_PASS;
}

static __always_inline int on_issue(void *ctx, struct pt_request *at)
{
    struct request *request = (struct request *)at->at;
    struct pt_io *io = pt_find(at);
    u32 bytes, is_first;

    if (!io)
        return PT_PASS;
    bytes = pt_read(request->__data_len);
    is_first = !io->issued_ns;
    // A request of which a part has come back is tried again with what is left.
    if (is_first || bytes > io->bytes) {
        io->bytes = bytes;
        io->sector = pt_read(request->__sector);
    }
    io->issued_ns = bpf_ktime_get_ns();
#ifdef PT_SEES_ISSUE
    if (is_first && !io->is_hidden)
        on_given(ctx, io, pt_disk_of(request), pt_read(request->cmd_flags) & 0xff);
#endif
    return PT_PASS;
}

static __always_inline int on_complete(void *ctx, struct pt_request *request, u32 disk, u32 operation)
{
    struct pt_io *known = requests.lookup(&request->at), io;

    if (!known)
        return PT_PASS;
    io = *known;
    requests.delete(&request->at);
    // A flush without data comes back without having been given to the driver: one of the kernel's own is.
    if (io.is_hidden || !io.issued_ns)
        return PT_PASS;
    return on_done(ctx, &io, disk, operation);
}
