// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The file of a descriptor of the current task, and its socket.
#include "read.h"
#include <linux/dcache.h>
#include <linux/fdtable.h>
#include <linux/fs.h>

#define PT_IFMT   0170000 // S_IFMT, S_IFSOCK: macros
#define PT_IFSOCK 0140000

// Return the file of a descriptor among a task's files, or 0. Another thread may close it at the same time: then later
// reads give values of no file, or of another one.
static __always_inline struct file *pt_file_in(struct files_struct *files, u32 fd)
{
    struct fdtable *table = files ? pt_read(files->fdt) : 0;
    struct file **slots;
    struct file *file = 0;

    if (!table || fd >= pt_read(table->max_fds))
        return 0;
    slots = (struct file **)pt_read(table->fd);
    pt_probe_read_kernel(&file, sizeof(file), &slots[fd]);
    return file;
}

// Likewise of the current task.
static __always_inline struct file *pt_file_of(u32 fd)
{
    return pt_file_in(pt_current_field(files), fd);
}

// Return the socket of a file; 0 if it is none.
static __always_inline struct socket *pt_socket_of(struct file *file)
{
    struct inode *inode = file ? pt_read(file->f_inode) : 0;

    return inode && (pt_read(inode->i_mode) & PT_IFMT) == PT_IFSOCK ? pt_read(file->private_data) : 0;
}

// Read the last component of a file's path; "" if there is none.
static __always_inline void pt_file_name(char *to, u32 room, struct file *file)
{
    struct dentry *dentry = file ? pt_read(file->f_path.dentry) : 0;

    if (!dentry || pt_probe_read_kernel_str(to, room, (void *)pt_read(dentry->d_name.name)) < 0)
        to[0] = 0;
}
