// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Events of block requests, from the hook that the planner chose. The tracer that includes this defines on_insert,
// on_merge and on_issue(context, request), and on_complete(context, request, disk, operation).
#include "read.h"
#include <linux/blk-mq.h>
#include <linux/blkdev.h>

// The identity of a request. Trace events do not have its address.
struct pt_request {
    u64 at; // address, or sector
#ifdef HOOK_BLOCK_IO_TRACEPOINT
    u32 disk;
    u32 operation;
#endif
};

#ifdef HOOK_BLOCK_IO_TRACEPOINT
#define PT_OTHER_OPERATION 255
// The operation by its letter (blk_fill_rwbs), after an F if a flush comes first. The sector of a flush is 0, and -1
// when it completes.
#define PT_IDENTIFY(id, args)                                                                                \
    u8 letter_ = args->rwbs[0] == 'F' ? args->rwbs[1] : args->rwbs[0];                                       \
    struct pt_request id = {.at = args->sector == -1ULL ? 0 : args->sector, .disk = args->dev};              \
    id.operation = letter_ == 'R'   ? 0                                                                      \
                   : letter_ == 'W' ? 1                                                                      \
                   : letter_ == 'F' ? 2                                                                      \
                   : letter_ == 'D' ? 3                                                                      \
                                    : PT_OTHER_OPERATION

int inserted(struct tracepoint__block__block_rq_insert *args)
{
    PT_IDENTIFY(id, args);
    return on_insert(args, &id);
}

// block_rq_merge, which is laid out alike. Kernels before Linux 5.9 do not have it, and BCC makes no struct of it there.
int merged(void *context)
{
    struct tracepoint__block__block_rq_insert *args = context;
    PT_IDENTIFY(id, args);
    return on_merge(args, &id);
}

int issued(struct tracepoint__block__block_rq_issue *args)
{
    PT_IDENTIFY(id, args);
    return on_issue(args, &id);
}

int completed(struct tracepoint__block__block_rq_complete *args)
{
    PT_IDENTIFY(id, args);
    return on_complete(args, &id, id.disk, id.operation);
}
#else
#ifdef HOOK_BLOCK_IO_RAW_TRACEPOINT_QUEUE
#define PT_REQUEST 1
#else
#define PT_REQUEST 0
#endif

// Linux 5.17 (f3fa33acca9f) took the disk out of the request; the queue has it since 5.15 (d152c682f03c).
// With types from BTF the macro is generated.
#ifdef PT_PACKAGED_HEADERS
#define PT_HAS_request__rq_disk (LINUX_VERSION_CODE < KERNEL_VERSION(5, 17, 0))
#endif

static __always_inline u32 pt_disk_of(struct request *request)
{
#if PT_HAS_request__rq_disk
    struct gendisk *disk = pt_read(request->rq_disk);
#else
    struct request_queue *queue = pt_read(request->q);
    struct gendisk *disk = pt_read(queue->disk);
#endif

    return disk ? pt_read(disk->major) << 20 | pt_read(disk->first_minor) : 0;
}

int inserted(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_request id = {ctx->args[PT_REQUEST]};

    return on_insert(ctx, &id);
}

int merged(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_request id = {ctx->args[PT_REQUEST]};

    return on_merge(ctx, &id);
}

int issued(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_request id = {ctx->args[PT_REQUEST]};

    return on_issue(ctx, &id);
}

int completed(struct bpf_raw_tracepoint_args *ctx)
{
    struct request *request = (struct request *)ctx->args[0];
    struct pt_request id = {ctx->args[0]};

    // A partial completion: the rest is issued again.
    if ((u32)ctx->args[2] < pt_read(request->__data_len))
        return PT_PASS;
    return on_complete(ctx, &id, pt_disk_of(request), pt_read(request->cmd_flags) & 0xff);
}
#endif
