// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// System calls that read and write open files, and the part of the file that they access.
#include "descriptor.h"
#include "syscall_numbers.h"

// Bits of a call; 0: another call.
#define PT_READS      1
#define PT_WRITES     2
#define PT_POSITIONED 4 // the call has the offset; else it uses the file's position
#define PT_VECTORED   8

static __always_inline int pt_file_call(u64 call)
{
    if (PT_IS(call, read, 0, 3, 63, 3))
        return PT_READS;
    if (PT_IS(call, write, 1, 4, 64, 4))
        return PT_WRITES;
    if (PT_IS(call, pread64, 17, 180, 67, 180))
        return PT_READS | PT_POSITIONED;
    if (PT_IS(call, pwrite64, 18, 181, 68, 181))
        return PT_WRITES | PT_POSITIONED;
    if (PT_IS(call, readv, 19, 145, 65, 145))
        return PT_READS | PT_VECTORED;
    if (PT_IS(call, writev, 20, 146, 66, 146))
        return PT_WRITES | PT_VECTORED;
    if (PT_IS(call, preadv, 295, 333, 69, 361) || PT_IS(call, preadv2, 327, 378, 286, 392))
        return PT_READS | PT_POSITIONED | PT_VECTORED;
    if (PT_IS(call, pwritev, 296, 334, 70, 362) || PT_IS(call, pwritev2, 328, 379, 287, 393))
        return PT_WRITES | PT_POSITIONED | PT_VECTORED;
    return 0;
}

#define PT_IFMT       0170000 // S_IFMT and its values, macros
#define PT_IFREG      0100000
#define PT_IFBLK      0060000
#define PT_OVERLAY    0x794c7630 // OVERLAYFS_SUPER_MAGIC
#define PT_PAGE_SHIFT 12
#define PT_O_DSYNC    010000 // also part of O_SYNC
#if defined(__aarch64__)
#define PT_O_DIRECT 0200000
#else
#define PT_O_DIRECT 040000
#endif

static __always_inline u32 pt_file_type(struct inode *inode)
{
    return pt_read(inode->i_mode) & PT_IFMT;
}

// Return the file offset at which a completed call began to read or write. "position" is its argument, "done" its
// result.
static __always_inline u64 pt_file_offset(int kind, u64 position, struct file *file, u64 done)
{
    return kind & PT_POSITIONED && (s64)position != -1 ? position : pt_read(file->f_pos) - done;
}
