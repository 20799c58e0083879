// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The calls that take and release locks of the C library, in the order of NAMES in tracers/mutexstat.py, and whether a
// lock is taken.
#include "read.h"
enum kind {
    LOCK = 1,
    TIMEDLOCK,
    CLOCKLOCK,
    TRYLOCK,
    COND_WAIT,
    COND_TIMEDWAIT,
    COND_CLOCKWAIT,
    UNLOCK,
    READLOCK,
    TIMEDREAD,
    CLOCKREAD,
    TRYREAD,
    WRITELOCK,
    TIMEDWRITE,
    CLOCKWRITE,
    TRYWRITE,
    RW_UNLOCK
};
#define IS_CONDITION(kind) ((kind) >= COND_WAIT && (kind) <= COND_CLOCKWAIT)
#define IS_UNLOCK(kind)    ((kind) == UNLOCK || (kind) == RW_UNLOCK)
#define IS_READ(kind)      ((kind) >= READLOCK && (kind) <= CLOCKREAD)
#define IS_WRITE(kind)     ((kind) >= WRITELOCK && (kind) <= CLOCKWRITE)

// The first word of glibc's rwlocks (2.25 and newer): a writer has the lock or will have it; two flags; readers.
#define WRITE_PHASE    1
#define WRITE_LOCKED   2
#define READERS(state) ((state) >> 3)

// True if the lock is taken from the point of view of a call of this kind that waits for it.
static __always_inline int is_contended(u32 kind, u64 lock)
{
    u32 state = 0;

    if (pt_probe_read_user(&state, sizeof(state), (void *)lock))
        return 0;
    if (kind <= CLOCKLOCK)
        return !!state; // glibc's mutex: 0 is free
    if (IS_READ(kind))
        return (state & WRITE_PHASE) && (state & WRITE_LOCKED);
    if (IS_WRITE(kind))
        return (state & WRITE_LOCKED) || (!(state & WRITE_PHASE) && READERS(state));
    return 0;
}
