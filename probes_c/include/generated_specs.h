// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// src/pytracer/lang/codegen.py generates this file for each run; this one is for no probe spec.

// True if the event passes the filter of probe spec "program".
static __always_inline int pt_spec_matches(void *ctx, u32 program, u32 target, struct pt_call *call)
{
    return 1;
}

// Evaluate the expressions of the spec.
static __always_inline void pt_spec_evaluate(void *ctx, u32 program, u32 target, struct pt_call *call,
                                             struct pt_results *to)
{
    to->unread = 0;
}

// The key that matches the two events of a pair; sets "unread" if it cannot be read.
static __always_inline u64 pt_spec_key(void *ctx, u32 program, u32 target, struct pt_call *call, u32 *unread)
{
    return bpf_get_current_task();
}

// Save the values that are needed at the return of the call.
static __always_inline void pt_spec_save_entry(void *ctx, u32 program, u32 target, struct pt_call *to)
{
}

// Return 1 if the spec needs the entry of the call.
static __always_inline int pt_spec_traces_calls(u32 program)
{
    return 0;
}

// Return 1 if the first expression of the spec is a signed number.
static __always_inline int pt_spec_is_signed(u32 program)
{
    return 0;
}

// The number of a program's probe spec, which has several programs if its targets differ.
static __always_inline u32 pt_spec_number(u32 program)
{
    return program;
}

// A program for each spec, and one for the entry if needed: spec_0, entry_0, spec_1, ...
int spec_0(void *ctx)
{
    return pt_on_spec(ctx, 0);
}
