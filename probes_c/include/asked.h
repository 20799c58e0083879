// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// lang/codegen.py generates the contents of this file for each run; this one is for no probe spec.

// True if the event passes the filter of probe spec "which".
static __always_inline int pt_wanted(void *ctx, u32 which, u32 target, struct pt_call *call)
{
    return 1;
}

// The answers to it.
static __always_inline void pt_answer(void *ctx, u32 which, u32 target, struct pt_call *call,
                                      struct pt_answers *to)
{
    to->missing = 0;
}

// What is to be known of a call when it ends.
static __always_inline void pt_keep(void *ctx, u32 which, u32 target, struct pt_call *to)
{
}

// Whether it is about calls from their beginning to their end.
static __always_inline int pt_begins(u32 which)
{
    return 0;
}

// The number of the question that a program is for: it has several where targets differ.
static __always_inline u32 pt_question(u32 which)
{
    return which;
}

// A program for each question, and for its beginning: ask_0, begin_0, ask_1, ...
int ask_0(void *ctx)
{
    return pt_asked(ctx, 0);
}
