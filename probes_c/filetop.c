// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up bytes that are read from files and written to them, by process and file.
#include "task_rows.h"
#include "filecalls.h"
#include "ring_files.h"

// Calls that copy from one file to another: which arguments are the descriptors.
#define SENDFILE 16
#define COPIES   32

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, sendfile, 40, 187, 71, 187) || PT_IS(call, sendfile64, -1, 239, -1, 239))
        return SENDFILE;
    if (PT_IS(call, copy_file_range, 326, 377, 285, 391) || PT_IS(call, splice, 275, 313, 76, 340))
        return COPIES;
    return pt_file_call(call);
}
#include "returns.h"

struct row_key {
#ifdef BY_FILE
    u64 inode;
    u32 type;
    char file[64];
#endif
    PT_TASK_KEY;
};

struct row_value {
    u64 reads;
    u64 writes;
    u64 read_bytes;
    u64 write_bytes;
    PT_TASK_NAME;
};
#include "rows.h"

// Count a read or write. "request": by io_uring, for a process that may not be running; else by the current task.
static __always_inline void count(struct file *file, u64 bytes, int is_read, struct pt_request *request)
{
    struct row_value *row;
    struct inode *inode;
    struct row_key key;
    u32 type;

    if (!file)
        return;
    inode = pt_read(file->f_inode);
    type = pt_file_type(inode);
#ifndef EVERY_TYPE
    if (type != PT_IFREG && type != PT_IFBLK)
        return;
#endif
    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_FILE
    key.inode = pt_read(inode->i_ino);
    key.type = type;
    pt_file_name(key.file, sizeof(key.file), file);
#endif
    if (request)
        pt_fill_known_key(&key, request->pid, request->comm);
    else
        pt_fill_task_key(&key);
    row = pt_row(&key);
    if (!row)
        return;
    if (is_read) {
        row->reads++;
        row->read_bytes += bytes;
    } else {
        row->writes++;
        row->write_bytes += bytes;
    }
    if (request)
        pt_fill_known_name(row, request->comm);
    else
        pt_fill_task_name(row);
}

#ifdef PT_SEES_RING_FILES
static __always_inline void on_ring_file(void *ctx, struct pt_request *request, enum pt_ring_kind kind,
                                         struct file *file, u64 ns, s64 result)
{
    if (request->pid && kind != PT_RING_SYNCS && result >= 0)
        count(file, result, kind == PT_RING_READS, request);
}
#endif

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    int kind = kind_of(call->call);

    if (!kind || call->ret < 0 || !pt_is_current_traced())
        return PT_PASS;
    // count() is written twice, not for each kind: Linux before 5.2 takes 4,096 instructions.
    count(pt_file_of(call->args[kind == SENDFILE]), call->ret, kind & (PT_READS | SENDFILE | COPIES), 0);
    if (kind & (SENDFILE | COPIES))
        count(pt_file_of(call->args[kind == SENDFILE ? 0 : 2]), call->ret, 0, 0);
    return PT_PASS;
}
