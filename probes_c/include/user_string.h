// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Strings in the memory of programs.
//
//     u64 pt_read_string(char *to, u32 room, u64 address, int expected)
//                                        reads one that ends with a NUL; returns its size with the NUL
//     void pt_read_counted(char *to, u32 room, u64 address, u64 size)
//                                        reads one of "size" bytes; "room" is a power of two, "to" is zeroed
#include "loss.h"
#include "read.h"

// Read a user string at "address" into a record. Returns its size there, with the NUL. A string that does not fit is
// truncated and counted; one that cannot be read is empty, and counted unless that is "expected".
static __always_inline u64 pt_read_string(char *to, u32 room, u64 address, int expected)
{
    long size = pt_probe_read_user_str(to, room, (void *)address);
    char end = 1;

    if (size <= 0) { // 0: an empty string on 5.10 (strncpy_from_user_nofault does not count its NUL)
        to[0] = 0;
        if (size && !expected)
            pt_lost(PT_LOSS_TRUNCATED);
        return 1;
    }
    if (size == room) {
        pt_probe_read_user(&end, sizeof(end), (void *)(address + room - 1));
        if (end)
            pt_lost(PT_LOSS_TRUNCATED);
    }
    return size;
}

// The string has no NUL of its own; one that does not fit is truncated and counted.
static __always_inline void pt_read_counted(char *to, u32 room, u64 address, u64 size)
{
    u64 length = size < room ? size : room - 1;

    if (length < size)
        pt_lost(PT_LOSS_TRUNCATED);
    pt_opaque(length);
    length &= room - 1; // the verifier needs its bounds in the register that is used
    if (length && pt_probe_read_user(to, length, (void *)address))
        pt_lost(PT_LOSS_TRUNCATED);
}
