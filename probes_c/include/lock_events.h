// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Locks of the kernel: their types by the flags of contention_begin, and which task holds one.
#include "members.h"
#include <linux/mutex.h>
#include <linux/rwsem.h>

// LCB_F_* of include/trace/events/lock.h, macros and so absent from BTF
#define LCB_F_SPIN   0x01
#define LCB_F_READ   0x02
#define LCB_F_WRITE  0x04
#define LCB_F_RT     0x08
#define LCB_F_PERCPU 0x10
#define LCB_F_MUTEX  0x20

static __always_inline void pt_name_lock_type(char *type, u32 flags)
{
#define PT_NAMED(name) __builtin_memcpy(type, name, sizeof(name))
    if (flags & LCB_F_MUTEX)
        PT_NAMED("mutex");
    else if (flags & LCB_F_PERCPU)
        PT_NAMED("percpu-rwsem");
    else if (flags & LCB_F_RT)
        PT_NAMED("rtmutex");
    else if (flags & LCB_F_SPIN)
        flags &(LCB_F_READ | LCB_F_WRITE) ? PT_NAMED("rwlock") : PT_NAMED("spinlock");
    else if (flags & (LCB_F_READ | LCB_F_WRITE))
        PT_NAMED("rwsem");
    else
        PT_NAMED("semaphore");
}

static __always_inline int pt_is_rwsem(u32 flags)
{
    return (flags & (LCB_F_READ | LCB_F_WRITE)) &&
           !(flags & (LCB_F_SPIN | LCB_F_RT | LCB_F_PERCPU | LCB_F_MUTEX));
}

// Return the task that holds a mutex, or an rwsem for writing; 0 if none or unknown. The lowest bits of both are flags,
// and the first one of an rwsem means that readers hold it (RWSEM_READER_OWNED), whom the kernel does not record.
static __always_inline struct task_struct *pt_lock_holder(u64 lock, u32 flags)
{
    u64 owner = 0;

#if PT_HAS_mutex__owner
    if (flags & LCB_F_MUTEX)
        owner = pt_read(((struct mutex *)lock)->owner.counter);
#endif
#if PT_HAS_rw_semaphore__owner
    if (pt_is_rwsem(flags)) {
        owner = pt_read(((struct rw_semaphore *)lock)->owner.counter);
        if (owner & 1)
            owner = 0;
    }
#endif
    return (struct task_struct *)(owner & ~7ULL);
}
