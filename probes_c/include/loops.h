// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Loops that this kernel's verifier accepts. The body is a function that gets a struct on the stack, which begins with
// "u32 index" (from 0), and returns 1 to end the loop:
//
//     PT_LOOP_BODY(1, struct words *words) { ... return 0; }
//     ... PT_LOOP_RUN(1, PT_LOOP_LIMIT(8192, 256, 12), &words);
//
// The number identifies the body within a C file. With bpf_loop() the verifier checks a body once, however often it
// runs (Linux 5.17, e6f2dd0f8067). From Linux 5.3 it walks through all iterations of a loop (2589726d12a1), so there
// must be fewer. Older kernels need unrolled loops, which are shorter still. PT_LOOP_LIMIT has the limit for each of
// the three. PT_LOOP_PRAGMA stands before a "for" of the latter two kinds.
#include "read.h"

#ifdef PT_HAS_LOOPS
#define PT_LOOP_PRAGMA _Pragma("clang loop unroll(disable)")
#else
#define PT_LOOP_PRAGMA _Pragma("clang loop unroll_count(64)") // "full" would leave some loops as they are
#endif

#if defined(PT_HAS_BPF_LOOP)
#define PT_LOOP_LIMIT(called, looped, unrolled) (called)
#elif defined(PT_HAS_LOOPS)
#define PT_LOOP_LIMIT(called, looped, unrolled) (looped)
#else
#define PT_LOOP_LIMIT(called, looped, unrolled) (unrolled)
#endif

#define PT_LOOP_MARK 0x7079547261637400ULL // pytracer.bpf.compile.bpf_loop.MARK

#ifdef PT_HAS_BPF_LOOP
// Declared here because BCC before 0.24 does not know this helper.
static long (*pt_bpf_loop)(u32 limit, u64 body, void *context, u64 flags) = (void *)181;

#define PT_LOOP_BODY(number, context) int pt_loop_##number(context)
#define PT_LOOP_RUN(number, limit, context)                                                                  \
    ({                                                                                                       \
        u64 pt_body = PT_LOOP_MARK | (number);                                                               \
        pt_opaque(pt_body);                                                                                  \
        pt_bpf_loop(limit, pt_body, context, 0);                                                             \
    })
#else
#define PT_LOOP_BODY(number, context) static __always_inline int pt_loop_##number(context)
#define PT_LOOP_RUN(number, limit, context)                                                                  \
    ({                                                                                                       \
        PT_LOOP_PRAGMA                                                                                       \
        for (u32 pt_i = 0; pt_i < (limit); pt_i++) {                                                         \
            (context)->index = pt_i;                                                                         \
            if (pt_loop_##number(context))                                                                   \
                break;                                                                                       \
        }                                                                                                    \
    })
#endif

// Look at the mapping of an address in the current process, as by bpf_find_vma() (Linux 5.17, 7c7e3d31e785): the body
// gets a struct that begins with "struct vm_area_struct *vma", which is set for it. The result is that of the helper:
// 0, or an error, also where the lock of the mappings is held.
//
//     PT_VMA_BODY(1, struct range *range) { ... return 0; }
//     ... error = PT_VMA_RUN(1, address, &range);
#ifdef PT_HAS_FIND_VMA
#define PT_VMA                       0x40 // of a number with the mark
#define PT_VMA_BODY(number, context) int pt_vma_##number(context)
#define PT_VMA_RUN(number, address, context)                                                                 \
    ({                                                                                                       \
        u64 pt_body = PT_LOOP_MARK | PT_VMA | (number);                                                      \
        pt_opaque(pt_body);                                                                                  \
        pt_find_vma(bpf_get_current_task_btf(), address, pt_body, context, 0);                               \
    })

static long (*pt_find_vma)(struct task_struct *task, u64 address, u64 body, void *context,
                           u64 flags) = (void *)180;
#endif
