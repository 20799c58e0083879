// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// List the files that processes have open.
#include "read.h"
#define PATH_LEN 4096 // PATH_MAX

#ifdef SOCKETS
#include "socket_ends.h"

struct event {
    u64 ns;
    u32 pid;
    u32 fd;
    u64 inode;
    PT_SOCKET_ENDS;
    char comm[16];
};
#else
struct event {
    u64 ns;
    u32 pid;
    u32 fd;
    u32 type; // of S_IFMT; 0: none
    u32 flags;
    u64 inode;
    u64 offset;
    char comm[16];
    u32 bits; // followed by the path, a struct pt_path
    char path[PATH_LEN];
};
#endif
#include "listing.h"
#include "loss.h"
#include "paths.h"
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/path.h>

#define PT_IFMT      0170000 // S_IFMT, S_IFSOCK: macros
#define PT_IFSOCK    0140000
#define PT_LARGEFILE 0100000 // the kernel adds it to each open of a 64-bit program

#ifdef PT_HAS_D_PATH
static long (*pt_d_path)(void *path, char *to, u32 size) = (void *)147;
#endif

#ifdef SOCKETS
static __always_inline int list(u64 *ctx, struct event *event, struct file *file)
{
    struct inode *inode = pt_read(file->f_inode);
    struct socket *socket = pt_read(file->private_data);
    struct sock *sk;

    if ((pt_read(inode->i_mode) & PT_IFMT) != PT_IFSOCK)
        return 0;
    sk = pt_read(socket->sk);
    if (!sk)
        return 0;
    pt_read_ends((struct pt_socket_ends *)&event->family, sk);
    return pt_list(ctx, event, sizeof(*event));
}
#else
// Read the path as its process would see it. Returns its bytes in the record. If the path is longer than PATH_MAX
// ("cut"), or the kernel has no paths in iterators (before Linux 5.12, 3d06f34aa89e), it is the name alone.
static __always_inline u64 name_of(struct event *event, struct file *file, int *cut)
{
    struct dentry *dentry;
    long size;

#ifdef PT_HAS_D_PATH
    size = pt_d_path(&file->f_path, event->path, sizeof(event->path));
    if (size > 0)
        return size;
    *cut = 1;
#endif
    dentry = pt_read(file->f_path.dentry);
    size = bpf_probe_read_kernel_str(event->path, sizeof(event->path), (void *)pt_read(dentry->d_name.name));
    if (size > 0)
        return size;
    event->path[0] = 0;
    *cut = 1;
    return 1;
}

static __always_inline int list(u64 *ctx, struct event *event, struct file *file)
{
    struct inode *inode = pt_read(file->f_inode);
    int cut = 0;
    u64 size;

    event->type = pt_read(inode->i_mode) & PT_IFMT;
    event->flags = pt_read(file->f_flags) & ~PT_LARGEFILE;
    event->offset = pt_read(file->f_pos);
    size = name_of(event, file, &cut);
    if (pt_path_is_wanted(&event->bits, size) && pt_list(ctx, event, offsetof(struct event, path) + size))
        return 0;
    if (cut)
        pt_lost(PT_LOSS_TRUNCATED);
    return 0;
}
#endif

// bpf_iter_task_file(meta, task, fd, file)
int listed(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[1];
    struct file *file = (struct file *)ctx[3];
    struct event *event;
    struct inode *inode;

    if (!task || !file || !pt_is_traced(task)) // both are 0 at the end
        return 0;
    event = pt_prepare();
    if (!event)
        return 0;
    inode = pt_read(file->f_inode);
    event->ns = bpf_ktime_get_ns();
    event->pid = pt_read(task->tgid);
    event->fd = *(u32 *)(ctx + 2);
    event->inode = pt_read(inode->i_ino);
    pt_probe_read_kernel(event->comm, sizeof(event->comm), &task->comm);
    list(ctx, event, file);
    return 0;
}
