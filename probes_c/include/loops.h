// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Loops: the verifier goes through them since Linux 5.3 (2589726d12a1). Before, they are unrolled, and programs
// have room for few turns: PT_TURNS(many, few).
#ifdef PT_HAS_LOOPS
#define PT_LOOP             _Pragma("clang loop unroll(disable)")
#define PT_TURNS(many, few) (many)
#else
#define PT_LOOP _Pragma("clang loop unroll_count(64)") // more than few: "full" leaves some as they are
#define PT_TURNS(many, few) (few)
#endif
