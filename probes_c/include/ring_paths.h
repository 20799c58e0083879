// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Operations of io_uring with a path, from the hook RING_FILES: opens, or with PT_RING_STATS statx, or with
// PT_RING_REMOVES opens, unlinks and renames. The tracer that includes this defines
//
//   on_ring_path(context, request, path, result)   an operation has ended: 0 or a descriptor, or an error
//
// The kernel copies the path when the request is submitted, and has freed it when the request completes.
#if defined(HOOK_RING_FILE_TRACEPOINT) || defined(HOOK_RING_FILE_TRACEPOINT_SQE)
#include "io_uring.h"
#include <linux/fs.h>
#define PT_SEES_RING_PATHS

struct pt_ring_path {
    u64 flags;
    s32 folder;   // the descriptor that the path is relative to, or AT_FDCWD
    u32 is_fixed; // opened into a slot of the ring's fixed files: it has no descriptor
    char path[256];
#ifdef PT_RING_REMOVES
    char before[256]; // the old path of a file that is renamed to "path"
#endif
};
// By the address of the request. The oldest is evicted.
BPF_TABLE("lru_hash", u64, struct pt_ring_path, pt_ring_paths, 4096);
BPF_PERCPU_ARRAY(pt_no_ring_path, struct pt_ring_path, 1); // zeros, too large for the stack

static void on_ring_path(void *ctx, struct pt_request *request, struct pt_ring_path *path, s64 result);

#if PT_HAS_REQUEST && PT_HAS_io_open__filename && PT_HAS_io_statx__filename
// Copy the name that is "at" this place: a pointer, from Linux 7.0 on in a struct of its own.
static __always_inline void pt_copy_ring_name(char *dst, u64 src)
{
    u64 filename = 0;

    pt_probe_read_kernel(&filename, sizeof(filename), (void *)src);
    pt_probe_read_kernel_str(dst, 256, (void *)pt_read(((struct filename *)filename)->name));
}

// Save the arguments of a request, which are in its command; returns the place of the path, which is saved next.
#ifdef PT_RING_STATS
#define PT_RING_COMMAND(operation) ((operation) == 21) // IORING_OP_STATX
static __always_inline u64 pt_save_ring_command(struct pt_ring_path *path, struct pt_request *request)
{
    struct io_statx *from = (struct io_statx *)request->address;

    path->folder = pt_read(from->dfd);
    return (u64)&from->filename;
}
#else
#define PT_RING_OPENS(operation) ((operation) == 18 || (operation) == 28) // IORING_OP_OPENAT, _OPENAT2
#ifdef PT_RING_REMOVES
#define PT_RING_RENAMES(operation) ((operation) == 35) // IORING_OP_RENAMEAT, _UNLINKAT
#define PT_RING_COMMAND(operation)                                                                           \
    (PT_RING_OPENS(operation) || PT_RING_RENAMES(operation) || (operation) == 36)
#else
#define PT_RING_COMMAND(operation) PT_RING_OPENS(operation)
#endif
static __always_inline u64 pt_save_ring_command(struct pt_ring_path *path, struct pt_request *request)
{
    struct io_open *from = (struct io_open *)request->address;

#ifdef PT_RING_REMOVES
    if (PT_RING_RENAMES(request->operation)) {
        pt_copy_ring_name(path->before, (u64) & ((struct io_rename *)from)->oldpath);
        return (u64) & ((struct io_rename *)from)->newpath;
    }
    if (!PT_RING_OPENS(request->operation))
        return (u64) & ((struct io_unlink *)from)->filename;
#endif
    path->flags = pt_read(from->how.flags) & ~0100000ULL; // O_LARGEFILE, which the kernel adds
    path->is_fixed = !!pt_read(from->file_slot);
    return (u64)&from->filename;
}
#endif
#endif

static __always_inline void on_submit(struct pt_request *request, u32 flags, int is_polled)
{
#ifdef PT_RING_COMMAND
    int zero = 0;
    struct pt_ring_path *path = pt_no_ring_path.lookup(&zero);
    u64 address = request->address;

    if (!path || !address || !PT_RING_COMMAND(request->operation))
        return;
    pt_ring_paths.update(&address, path);
    path = pt_ring_paths.lookup(&address);
    if (path)
        pt_copy_ring_name(path->path, pt_save_ring_command(path, request));
#endif
}

static __always_inline void on_complete(void *ctx, struct pt_request *request, int is_more, u64 ns, u64 now,
                                        s64 result)
{
    u64 address = request->address;
    struct pt_ring_path *path = pt_ring_paths.lookup(&address);

    if (!path)
        return;
#ifdef FAILED
    if (pt_is_failed(result))
#endif
        on_ring_path(ctx, request, path, result);
    pt_ring_paths.delete(&address);
}

// Copy the path to the "path" of an event, and return its size there. A path that fills the room counts as truncated.
#define pt_copy_ring_path(event, from) pt_copy_ring_string(event, (from)->path)
#define pt_copy_ring_string(event, string)                                                                   \
    ({                                                                                                       \
        s64 size_ = pt_probe_read_kernel_str((event)->path, sizeof(string), string);                         \
                                                                                                             \
        if (size_ == sizeof(string))                                                                         \
            pt_lost(PT_LOSS_TRUNCATED);                                                                      \
        if (size_ <= 0) {                                                                                    \
            (event)->path[0] = 0;                                                                            \
            size_ = 1;                                                                                       \
        }                                                                                                    \
        size_;                                                                                               \
    })

// Fill the members of an event that all such operations have, and send it if its path is wanted.
#define pt_send_ring_path(ctx, event, request, from, result)                                                 \
    do {                                                                                                     \
        u64 length_;                                                                                         \
                                                                                                             \
        (event)->ns = bpf_ktime_get_ns();                                                                    \
        (event)->pid = (request)->pid;                                                                       \
        (event)->error = (result) < 0 ? -(result) : 0;                                                       \
        __builtin_memcpy((event)->comm, (request)->comm, sizeof((event)->comm));                             \
        length_ = pt_copy_ring_path(event, from);                                                            \
        if (pt_path_is_wanted(&(event)->bits, length_))                                                      \
            pt_send(ctx, event, offsetof(struct event, path) + length_);                                     \
    } while (0)
#endif
