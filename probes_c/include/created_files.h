// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Files that were created while the trace runs, by the last component of their paths.
//
// System calls that remove a file take a path, and no event reports which file that was. But its dentry has lost the
// inode, or is unhashed, when the call returns (d_delete, d_move): of the files with that name, the removed one has
// such a dentry. The oldest entries are evicted; short-lived files are not among them.
#include "loops.h"
#include "task.h"
#include <linux/dcache.h>
#include <linux/fs.h>

#define PT_SAME_NAMES 4 // files of one name, in different folders, that can be distinguished

struct pt_name {
    char text[64] __attribute__((aligned(8))); // a longer name is cut; the dentry has the rest
};

struct pt_created_file {
    u64 ns; // when it was created; 0: none
    struct dentry *dentry;
    struct inode *inode;
    u32 pid; // of the process that created it
    u32 unused;
};

struct pt_created_files {
    struct pt_created_file of[PT_SAME_NAMES];
};
BPF_TABLE("lru_hash", struct pt_name, struct pt_created_files, created_files, 16384);
BPF_ARRAY(pt_no_created_files, struct pt_created_files, 1); // zeros: the stack has no room for them

#define PT_PATH_MAX 4096

struct pt_tail {
    u32 index;
    u32 size;
    u32 last;
    u32 unused;
    char *path;
};

PT_LOOP_BODY(1, struct pt_tail *tail)
{
    u32 offset = tail->size - 2 - tail->index; // before the NUL

    if (tail->index + 2 > tail->size || tail->path[offset & (PT_PATH_MAX - 1)] == '/')
        return 1;
    tail->last = offset;
    return 0;
}

// Copy the last part of a path of "size" bytes, at most PT_PATH_MAX, with its NUL. A name has up to 255 (NAME_MAX).
static __always_inline void pt_base_name(struct pt_name *name, char *path, u64 size)
{
    struct pt_tail tail = {.size = size, .last = size - 1, .path = path};

    PT_LOOP_RUN(1, PT_LOOP_LIMIT(256, 256, 64), &tail);
    __builtin_memset(name, 0, sizeof(*name));
    pt_probe_read_kernel_str(name->text, sizeof(name->text), path + (tail.last & (PT_PATH_MAX - 1)));
}

static __always_inline void pt_dentry_name(struct pt_name *name, struct dentry *dentry)
{
    __builtin_memset(name, 0, sizeof(*name));
    pt_probe_read_kernel_str(name->text, sizeof(name->text), (void *)pt_read(dentry->d_name.name));
}

static __always_inline int pt_is_same_name(struct pt_name *left, struct pt_name *right)
{
    u64 *a = (u64 *)left, *b = (u64 *)right, different = 0;

#pragma unroll
    for (int i = 0; i < sizeof(*left) / 8; i++)
        different |= a[i] ^ b[i];
    return !different;
}

static __always_inline int pt_is_removed(struct pt_created_file *created)
{
    struct dentry *dentry = created->dentry;

    return pt_read(dentry->d_inode) != created->inode || !pt_read(dentry->d_hash.pprev);
}

static __always_inline void pt_on_create(struct pt_name *name, struct pt_created_file *created)
{
    int zero = 0;
    struct pt_created_files *entry = 0, *none = pt_no_created_files.lookup(&zero);

    if (none)
        entry = created_files.lookup_or_try_init(name, none);
    if (!entry) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
        return;
    }
#pragma unroll
    for (int i = 0; i < PT_SAME_NAMES; i++)
        if (!entry->of[i].ns || entry->of[i].dentry == created->dentry || pt_is_removed(&entry->of[i])) {
            entry->of[i] = *created;
            return;
        }
    if (pt_is_current_traced())
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

// Find a removed file of this name that was seen to be created. Returns 1 and fills in "created" if there is one.
static __always_inline int pt_on_remove(struct pt_name *name, struct pt_created_file *created)
{
    struct pt_created_files *entry = created_files.lookup(name);

    if (!entry)
        return 0;
#pragma unroll
    for (int i = 0; i < PT_SAME_NAMES; i++)
        if (entry->of[i].ns && pt_is_removed(&entry->of[i])) {
            *created = entry->of[i];
            entry->of[i].ns = 0;
            return 1;
        }
    return 0;
}

// Move the entry of a file that was renamed to its new name.
static __always_inline void pt_on_rename(struct pt_name *from, struct pt_name *to)
{
    struct pt_created_files *entry = created_files.lookup(from);
    struct pt_created_file created = {};
    struct pt_name now;

    if (!entry)
        return;
#pragma unroll
    for (int i = 0; i < PT_SAME_NAMES; i++) {
        if (created.ns || !entry->of[i].ns)
            continue;
        pt_dentry_name(&now, entry->of[i].dentry);
        if (pt_is_same_name(&now, to) && !pt_is_same_name(&now, from)) {
            created = entry->of[i];
            entry->of[i].ns = 0;
        }
    }
    if (created.ns)
        pt_on_create(to, &created);
}
