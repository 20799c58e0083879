// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Processes whose stacks were taken.
//
//     u64 pt_current_image(void)  identifies what the current process runs; 0 of kernel threads and exiting tasks
#include "read.h"
#include <linux/mm_types.h>

// Sampled processes, by pid. The image identifies one run of a program under a pid, which may execute another program
// or be reused; user space computes the same from /proc/PID/stat. All samples of one generation were taken with the
// same code mapped at the same addresses (mapping.h). It is the time (CLOCK_MONOTONIC, ns) of the last change.
struct pt_image {
    u64 image;
    u64 generation;
    u64 exec_vm; // pages with code, if a change of that number shows a new mapping (mapping.h)
    u64 samples; // user space reads the memory maps of processes with new samples while they live
    u64 moved;   // when code was last moved (mremap), which the kernel records nowhere; 0: never
};
BPF_HASH(images, u32, struct pt_image, 16384);

static __always_inline u64 pt_current_image(void)
{
    struct mm_struct *mm = pt_current_field(mm);

    if (!mm)
        return 0;
    return pt_current_field_of(mm, start_code) + 3 * pt_current_field_of(mm, end_code) +
           5 * pt_current_field_of(mm, start_stack);
}
