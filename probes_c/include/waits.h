// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// What a thread waits for when it is off its CPU: by its state, the system call that it is in, and the descriptor of
// that call.
//
//     struct row_key                                       stacks, class, call, and what the call waits for
//     pt_classify(key, files, registers, state, is_io)     fills the latter three for a task that is blocked
//
// Without the registers of a task (arm64 before Linux 5.15) its call is unknown, and the class is PT_OTHER.
#include "current_call.h"
#include "descriptor.h"
#include "stack.h"
#include "syscall_numbers.h"
#include <net/inet_sock.h>
#include <net/sock.h>

// The classes of a thread's time; src/pytracer/enrich/waits.py has the names.
enum pt_class {
    PT_USER,
    PT_KERNEL,
    PT_RUNNABLE,
    PT_DISK,
    PT_NETWORK,
    PT_LOCK,
    PT_SLEEP,
    PT_FAULT,
    PT_PIPE,
    PT_EVENTS,
    PT_CHILD,
    PT_STOPPED,
    PT_OTHER,
};

// What kinds of things PT_WHERE_* name: a file or descriptor by name, the other end of a socket, its own port, a socket
// of the machine, a pipe by number, the address of a lock.
enum pt_where_kind {
    PT_WHERE_NONE,
    PT_WHERE_NAME,
    PT_WHERE_PEER,
    PT_WHERE_PORT,
    PT_WHERE_UNIX,
    PT_WHERE_PIPE,
    PT_WHERE_LOCK,
};

struct pt_where {
    u32 kind;
    u32 port;
    u8 address[16]; // IPv4 is mapped; or a number in the first 8
    char name[40];
};

struct row_key {
    PT_STACKS_MEMBERS;
    u32 class;
    u64 call;       // as pt_call returns it
    char where[64]; // struct pt_where: BCC describes no array of a sizeof
};

#define PT_STATE_D       0x2 // TASK_UNINTERRUPTIBLE
#define PT_STATE_STOPPED 0xc // __TASK_STOPPED | __TASK_TRACED
#define PT_IFIFO         0010000
#define PT_IFCHR         0020000
#define PT_ANON_MAGIC    0x09041934 // ANON_INODE_FS_MAGIC
#define PT_PROC_MAGIC    0x9fa0     // PROC_SUPER_MAGIC
#define PT_UNIX          1          // AF_UNIX
#define PT_INET          2          // AF_INET
#define PT_INET6         10         // AF_INET6

// What the call does with its descriptor, its first argument, or the class of a call without one.
enum {
    BY_DESCRIPTOR = 100,
    BY_DESCRIPTOR_LOCK,
    BY_SET,    // waits for the descriptors of a set, of which the second argument is the number
    BY_SELECT, // and of which the first is
};

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, read, 0, 3, 63, 3) || PT_IS(call, write, 1, 4, 64, 4) ||
        PT_IS(call, pread64, 17, 180, 67, 180) || PT_IS(call, pwrite64, 18, 181, 68, 181) ||
        PT_IS(call, readv, 19, 145, 65, 145) || PT_IS(call, writev, 20, 146, 66, 146) ||
        PT_IS(call, preadv, 295, 333, 69, 361) || PT_IS(call, pwritev, 296, 334, 70, 362) ||
        PT_IS(call, preadv2, 327, 378, 286, 392) || PT_IS(call, pwritev2, 328, 379, 287, 393) ||
        PT_IS(call, fsync, 74, 118, 82, 118) || PT_IS(call, fdatasync, 75, 148, 83, 148) ||
        PT_IS(call, sync_file_range, 277, 314, 84, -1) || PT_IS(call, syncfs, 306, 344, 267, 373) ||
        PT_IS(call, fallocate, 285, 324, 47, 352) || PT_IS(call, ftruncate, 77, 93, 46, 93) ||
        PT_IS(call, ftruncate64, -1, 194, -1, 194) || PT_IS(call, getdents64, 217, 220, 61, 217) ||
        PT_IS(call, recvfrom, 45, 371, 207, 292) || PT_IS(call, recvmsg, 47, 372, 212, 297) ||
        PT_IS(call, recvmmsg, 299, 337, 243, 365) || PT_IS(call, recvmmsg_time64, -1, 417, -1, 417) ||
        PT_IS(call, sendto, 44, 369, 206, 290) || PT_IS(call, sendmsg, 46, 370, 211, 296) ||
        PT_IS(call, sendmmsg, 307, 345, 269, 374) || PT_IS(call, accept, 43, -1, 202, 285) ||
        PT_IS(call, accept4, 288, 364, 242, 366) || PT_IS(call, connect, 42, 362, 203, 283) ||
        PT_IS(call, ioctl, 16, 54, 29, 54) || PT_IS(call, sendfile, 40, 187, 71, 187) ||
        PT_IS(call, sendfile64, -1, 239, -1, 239) || PT_IS(call, splice, 275, 313, 76, 340) ||
        PT_IS(call, copy_file_range, 326, 377, 285, 391) || PT_IS(call, close, 3, 6, 57, 6))
        return BY_DESCRIPTOR;
    if (PT_IS(call, flock, 73, 143, 32, 143) || PT_IS(call, fcntl, 72, 55, 25, 55) ||
        PT_IS(call, fcntl64, -1, 221, -1, 221))
        return BY_DESCRIPTOR_LOCK;
    if (PT_IS(call, futex, 202, 240, 98, 240) || PT_IS(call, futex_time64, -1, 422, -1, 422) ||
        PT_IS(call, futex_waitv, 449, 449, 449, 449) || PT_IS(call, futex_wait, 455, 455, 455, 455) ||
        PT_IS(call, semop, 65, -1, 193, 298) || PT_IS(call, semtimedop, 220, -1, 192, 312) ||
        PT_IS(call, semtimedop_time64, -1, 420, -1, 420))
        return PT_LOCK;
    if (PT_IS(call, nanosleep, 35, 162, 101, 162) || PT_IS(call, clock_nanosleep, 230, 267, 115, 265) ||
        PT_IS(call, clock_nanosleep_time64, -1, 407, -1, 407))
        return PT_SLEEP;
    if (PT_IS(call, poll, 7, 168, -1, 168) || PT_IS(call, ppoll, 271, 309, 73, 336) ||
        PT_IS(call, ppoll_time64, -1, 414, -1, 414))
        return BY_SET;
    if (PT_IS(call, select, 23, 82, -1, -1) || PT_IS(call, _newselect, -1, 142, -1, 142) ||
        PT_IS(call, pselect6, 270, 308, 72, 335) || PT_IS(call, pselect6_time64, -1, 413, -1, 413))
        return BY_SELECT;
    if (PT_IS(call, epoll_wait, 232, 256, -1, 252) || PT_IS(call, epoll_pwait, 281, 319, 22, 346) ||
        PT_IS(call, epoll_pwait2, 441, 441, 441, 441) || PT_IS(call, io_uring_enter, 426, 426, 426, 426) ||
        PT_IS(call, pause, 34, 29, -1, 29) || PT_IS(call, rt_sigsuspend, 130, 179, 133, 179) ||
        PT_IS(call, rt_sigtimedwait, 128, 177, 137, 177) ||
        PT_IS(call, rt_sigtimedwait_time64, -1, 421, -1, 421))
        return PT_EVENTS;
    if (PT_IS(call, wait4, 61, 114, 260, 114) || PT_IS(call, waitid, 247, 284, 95, 280) ||
        PT_IS(call, waitpid, -1, 7, -1, -1) || PT_IS(call, vfork, 58, 190, -1, 190) ||
        PT_IS(call, clone, 56, 120, 220, 120) || PT_IS(call, clone3, 435, 435, 435, 435))
        return PT_CHILD; // clone waits for a child that borrows the memory, as that of vfork
    if (PT_IS(call, io_getevents, 208, 247, 4, 245) || PT_IS(call, io_pgetevents, 333, 385, 292, 399) ||
        PT_IS(call, io_pgetevents_time64, -1, 416, -1, 416) || PT_IS(call, sync, 162, 36, 81, 36))
        return PT_DISK;
    if (PT_IS(call, msgrcv, 70, 401, 188, 302) || PT_IS(call, msgsnd, 69, 400, 189, 301) ||
        PT_IS(call, mq_timedreceive, 243, 280, 183, 277) || PT_IS(call, mq_timedsend, 242, 279, 182, 276) ||
        PT_IS(call, mq_timedreceive_time64, -1, 419, -1, 419) ||
        PT_IS(call, mq_timedsend_time64, -1, 418, -1, 418))
        return PT_PIPE;
    return PT_OTHER;
}

// The call of a task by its user registers, as pt_call returns it for the current one; "first" and "second" are its
// arguments.
static __always_inline u64 pt_call_of(struct pt_regs *regs, u64 *first, u64 *second)
{
#if defined(__x86_64__)
    u16 segment = pt_read(regs->cs), stack = pt_read(regs->ss);
    s32 number = pt_read(regs->orig_ax);
    int compat = segment == 0x23; // __USER32_CS

    if ((segment != 0x33 && !compat) || stack != 0x2b || number < 0) // as in pt_current_call
        return PT_NO_CALL;
    *first = compat ? pt_read(regs->bx) : pt_read(regs->di);
    *second = compat ? pt_read(regs->cx) : pt_read(regs->si);
#elif defined(__aarch64__)
    u64 pstate = pt_read(regs->pstate);
    s32 number = pt_read(regs->syscallno);
    int compat = !!(pstate & 0x10); // PSR_MODE32_BIT

    if ((pstate & 0xf) || number < 0)
        return PT_NO_CALL;
    *first = pt_read(regs->orig_x0);
    *second = pt_read(regs->regs[1]);
#endif
    return (u64)compat << 32 | (u32)number;
}

// The class of a wait for a socket, and its other end.
static __always_inline int pt_wait_of_socket(struct file *file, struct pt_where *where)
{
    struct socket *socket = pt_read(file->private_data);
    struct sock *sk = pt_read(socket->sk);
    u16 family = pt_read(sk->__sk_common.skc_family);
    u32 address;

    if (family == PT_UNIX) {
        where->kind = PT_WHERE_UNIX;
        return PT_PIPE;
    }
    if (family != PT_INET && family != PT_INET6)
        return PT_OTHER;
    where->port = bpf_ntohs(pt_read(sk->__sk_common.skc_dport));
    where->kind = PT_WHERE_PEER;
    if (!where->port) { // it listens, or is not connected
        where->kind = PT_WHERE_PORT;
        where->port = pt_read(sk->__sk_common.skc_num);
    } else if (family == PT_INET) {
        address = pt_read(sk->__sk_common.skc_daddr);
        where->address[10] = where->address[11] = 0xff;
        __builtin_memcpy(&where->address[12], &address, sizeof(address));
    } else {
        pt_probe_read_kernel(where->address, 16, &sk->__sk_common.skc_v6_daddr);
    }
    return PT_NETWORK;
}

// The class of a wait for a descriptor, by what it is.
static __always_inline int pt_wait_of_file(struct file *file, struct pt_where *where)
{
    struct inode *inode = file ? pt_read(file->f_inode) : 0;
    struct super_block *sb = inode ? pt_read(inode->i_sb) : 0;
    u32 type = inode ? pt_read(inode->i_mode) & PT_IFMT : 0;
    u64 magic = sb ? pt_read(sb->s_magic) : 0, number;

    if (!inode)
        return PT_OTHER;
    if (type == PT_IFSOCK)
        return pt_wait_of_socket(file, where);
    where->kind = PT_WHERE_NAME;
    pt_file_name(where->name, sizeof(where->name), file);
    if (magic == PT_ANON_MAGIC)
        return PT_EVENTS; // eventfd, timerfd, signalfd, inotify: by their names
    if (type == PT_IFIFO) {
        number = pt_read(inode->i_ino);
        if (!where->name[0]) {
            where->kind = PT_WHERE_PIPE;
            __builtin_memcpy(where->address, &number, sizeof(number));
        }
        return PT_PIPE;
    }
    return type == PT_IFCHR || magic == PT_PROC_MAGIC ? PT_OTHER : PT_DISK;
}

// Classify the wait of a task that is blocked in "state". "is_io": the kernel counts it as a wait for I/O.
static __always_inline void pt_classify(struct row_key *wait, struct files_struct *files,
                                        struct pt_regs *regs, u64 state, int is_io)
{
    struct pt_where *where = (struct pt_where *)wait->where;
    u64 first = 0, second = 0;
    int kind;

    wait->call = regs ? pt_call_of(regs, &first, &second) : PT_NO_CALL;
    wait->class = PT_OTHER;
    if (state & PT_STATE_STOPPED) {
        wait->class = PT_STOPPED;
        return;
    }
    if (wait->call == PT_NO_CALL) {
        if (regs && state & PT_STATE_D)
            wait->class = PT_FAULT; // user code is interrupted, and nothing else blocks there
        return;
    }
    kind = kind_of(wait->call);
    if (kind == BY_DESCRIPTOR || kind == BY_DESCRIPTOR_LOCK) {
        wait->class = pt_wait_of_file(pt_file_in(files, first), where);
        if (kind == BY_DESCRIPTOR_LOCK && !(state & PT_STATE_D))
            wait->class = PT_LOCK;
    } else if (kind == BY_SET || kind == BY_SELECT) {
        wait->class = (u32)(kind == BY_SET ? second : first) ? PT_EVENTS : PT_SLEEP;
    } else {
        wait->class = kind;
    }
    if (is_io) { // also of calls by path, and of page faults within a call
        if (wait->class != PT_DISK)
            where->kind = PT_WHERE_NONE;
        wait->class = PT_DISK;
    } else if (kind == PT_LOCK) {
        where->kind = PT_WHERE_LOCK;
        __builtin_memcpy(where->address, &first, sizeof(first));
    }
}
