// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The read(2), or similar call, that the current task is in, from the page cache.
#include "current_call.h"
#include "filecalls.h"
#include "members.h"
#include <linux/uio.h>

// From Linux 7.2 on, the union with d_alias has no name.
#if PT_HAS_dentry__d_u
#define PT_DENTRY_ALIAS offsetof(struct dentry, d_u)
#else
#define PT_DENTRY_ALIAS offsetof(struct dentry, d_alias)
#endif

#define PT_VECTORS 8 // with more vectors, the read is assumed to reach the end of the file

// Return 1 if reads of a file are served from the page cache (those of overlayfs use another file's pages).
static __always_inline int pt_is_cached(struct file *file)
{
    struct address_space *mapping = pt_read(file->f_mapping);
    struct address_space_operations *operations = (void *)pt_read(mapping->a_ops);
    struct inode *inode = pt_read(mapping->host);
    struct super_block *super = pt_read(inode->i_sb);
    u32 type = pt_file_type(inode);

    if ((type != PT_IFREG && type != PT_IFBLK) || pt_read(file->f_flags) & PT_O_DIRECT)
        return 0;
    return pt_read(super->s_magic) == PT_OVERLAY ||
#if PT_HAS_address_space_operations__readahead
           pt_read(operations->readahead) ||
#else
           pt_read(operations->readpages) ||
#endif
#if PT_HAS_address_space_operations__read_folio
           pt_read(operations->read_folio);
#else
           pt_read(operations->readpage);
#endif
}

// Return the total size of the vectors of a call.
static __always_inline u64 pt_vector_size(u64 vectors, u64 count, int is_compat)
{
    u64 size = 0;

    if (count > PT_VECTORS)
        return 1ULL << 62;
#pragma unroll
    for (int i = 0; i < PT_VECTORS; i++) {
        struct iovec vector = {};
        u32 compat[2] = {};

        if (i >= count)
            break;
        if (is_compat) {
            pt_probe_read_user(compat, sizeof(compat), (void *)(vectors + i * sizeof(compat)));
            size += compat[1];
        } else {
            pt_probe_read_user(&vector, sizeof(vector), (void *)(vectors + i * sizeof(vector)));
            size += vector.iov_len;
        }
    }
    return size;
}

// The arguments of the call: descriptor, buffer or vectors, size or their number, position.
static __always_inline void pt_current_arguments(u64 *args, int is_compat)
{
    struct pt_regs *regs = pt_user_registers();

#if defined(__x86_64__)
    args[0] = is_compat ? (u32)pt_read(regs->bx) : pt_read(regs->di);
    args[1] = is_compat ? (u32)pt_read(regs->cx) : pt_read(regs->si);
    args[2] = is_compat ? (u32)pt_read(regs->dx) : pt_read(regs->dx);
    args[3] = is_compat ? (u32)pt_read(regs->si) | pt_read(regs->di) << 32 : pt_read(regs->r10);
#elif defined(__aarch64__)
    args[0] = pt_read(regs->orig_x0);
    args[1] = pt_read(regs->regs[1]);
    args[2] = pt_read(regs->regs[2]);
    // A 32-bit pread has its position in an even pair of registers, preadv after its vectors.
    args[3] = pt_read(regs->regs[3]);
#endif
}

// Find the pages that the task's current call reads. Returns 0 if it is in no such call, or in one on another mapping.
static __always_inline int pt_current_read(struct address_space *mapping, u64 *first, u64 *last)
{
    u64 call = pt_current_call(), args[4], at, size;
    int kind = call == PT_NO_CALL ? 0 : pt_file_call(call), is_compat = call >> 32;
    struct super_block *super;
    struct inode *inode, *host;
    struct file *file;

    if (!(kind & PT_READS))
        return 0;
    pt_current_arguments(args, is_compat);
    file = pt_file_of(args[0]);
    if (!file || !pt_is_cached(file))
        return 0;
    if (pt_read(file->f_mapping) != mapping) {
        inode = pt_read(file->f_inode);
        super = pt_read(inode->i_sb);
        host = pt_read(mapping->host);
        if (pt_read(super->s_magic) != PT_OVERLAY || pt_file_type(host) != PT_IFREG)
            return 0;
    }
    size = kind & PT_VECTORED ? pt_vector_size(args[1], args[2], is_compat) : args[2];
    at = kind & PT_POSITIONED && (s64)args[3] != -1 ? args[3] : pt_read(file->f_pos);
    if (!size)
        return 0;
    *first = at >> PT_PAGE_SHIFT;
    *last = (at + size - 1) >> PT_PAGE_SHIFT;
    return 1;
}

// Return how many of the pages from "index" on the task is reading now.
static __always_inline u64 pt_currently_read(struct address_space *mapping, u64 index, u64 pages)
{
    u64 first, last;

    if (!pt_current_read(mapping, &first, &last) || index + pages <= first || index > last)
        return 0;
    if (index < first) {
        pages -= first - index;
        index = first;
    }
    return index + pages - 1 > last ? last - index + 1 : pages;
}
