// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Operations on regular files by system calls: open, read, write, sync.
#include "filecalls.h"

#define PT_OPENS 16
#define PT_SYNCS 32

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, open, 2, 5, -1, 5) || PT_IS(call, creat, 85, 8, -1, 8) ||
        PT_IS(call, openat, 257, 295, 56, 322) || PT_IS(call, openat2, 437, 437, 437, 437))
        return PT_OPENS;
    if (PT_IS(call, fsync, 74, 118, 82, 118) || PT_IS(call, fdatasync, 75, 148, 83, 148))
        return PT_SYNCS;
    return pt_file_call(call);
}
#include "returns.h"
#include "ring_files.h"

enum pt_operation { PT_OPEN, PT_READ, PT_WRITE, PT_SYNC };

// Return the file of a call and its operation; 0 if it is no regular file, or the call failed.
static __always_inline struct file *pt_operation(struct pt_return *call, u32 *operation)
{
    int kind = kind_of(call->call);
    struct file *file;

    if (!kind || call->ret < 0)
        return 0;
    file = pt_file_of(kind == PT_OPENS ? call->ret : call->args[0]);
    if (!file || pt_file_type(pt_read(file->f_inode)) != PT_IFREG)
        return 0;
    *operation = kind == PT_OPENS   ? PT_OPEN
                 : kind == PT_SYNCS ? PT_SYNC
                 : kind & PT_READS  ? PT_READ
                                    : PT_WRITE;
    return file;
}

#ifdef PT_SEES_RING_FILES
// The same for an operation of io_uring on a file. Returns 0 if it is no regular file, if the operation failed, or if
// its start is unknown.
static __always_inline int pt_ring_operation(enum pt_ring_kind kind, struct file *file, u64 ns, s64 result,
                                             u32 *operation)
{
    *operation = kind == PT_RING_READS ? PT_READ : kind == PT_RING_WRITES ? PT_WRITE : PT_SYNC;
    return ns && result >= 0 && pt_file_type(pt_read(file->f_inode)) == PT_IFREG;
}
#endif

// Return the file offset at which a completed call began to read or write; 0 for other calls.
static __always_inline u64 pt_offset(struct pt_return *call, struct file *file)
{
    int kind = kind_of(call->call);

    return kind & (PT_READS | PT_WRITES) ? pt_file_offset(kind, call->args[3], file, call->ret) : 0;
}

// The name of the type of the file system, as in /proc/filesystems.
static __always_inline void pt_filesystem(char *to, u32 room, struct file *file)
{
    struct inode *inode = pt_read(file->f_inode);
    struct super_block *super = pt_read(inode->i_sb);
    struct file_system_type *type = pt_read(super->s_type);

    pt_probe_read_kernel_str(to, room, (void *)pt_read(type->name));
}
