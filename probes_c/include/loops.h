// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Loops, as this kernel takes them. The body is a function of what it works on, a struct on the stack that begins
// with "u32 turn" (from 0 on), and returns 1 to end the loop:
//
//     PT_TURN(1, struct words *words) { ... return 0; }
//     ... PT_EACH(1, PT_TURNS(8192, 256, 12), &words);
//
// The number tells the bodies of one C file apart. By bpf_loop() the verifier looks at a body once, however often
// it runs (Linux 5.17, e6f2dd0f8067). Since Linux 5.3 it goes through all turns of a loop (2589726d12a1), which
// takes it time for each. Before, loops are unrolled, and programs have room for few turns. PT_LOOP stands before
// a "for" of the latter two kinds.
#include "read.h"

#ifdef PT_HAS_LOOPS
#define PT_LOOP _Pragma("clang loop unroll(disable)")
#else
#define PT_LOOP _Pragma("clang loop unroll_count(64)") // more than few: "full" leaves some as they are
#endif

#if defined(PT_HAS_BPF_LOOP)
#define PT_TURNS(called, looped, unrolled) (called)
#elif defined(PT_HAS_LOOPS)
#define PT_TURNS(called, looped, unrolled) (looped)
#else
#define PT_TURNS(called, looped, unrolled) (unrolled)
#endif

#ifdef PT_HAS_BPF_LOOP
#define PT_CALLED 0x7079547261637400ULL // pytracer.bpf.compile.bpf_loop.MARK

// Under a name of our own: BCC before 0.24 does not know it.
static long (*pt_bpf_loop)(u32 turns, u64 body, void *context, u64 flags) = (void *)181;

#define PT_TURN(number, context) int pt_turn_##number(context)
#define PT_EACH(number, turns, context)                                                                      \
    ({                                                                                                       \
        u64 pt_body = PT_CALLED | (number);                                                                  \
        pt_opaque(pt_body);                                                                                  \
        pt_bpf_loop(turns, pt_body, context, 0);                                                             \
    })
#else
#define PT_TURN(number, context) static __always_inline int pt_turn_##number(context)
#define PT_EACH(number, turns, context)                                                                      \
    ({                                                                                                       \
        PT_LOOP                                                                                              \
        for (u32 pt_i = 0; pt_i < (turns); pt_i++) {                                                         \
            (context)->turn = pt_i;                                                                          \
            if (pt_turn_##number(context))                                                                   \
                break;                                                                                       \
        }                                                                                                    \
    })
#endif
