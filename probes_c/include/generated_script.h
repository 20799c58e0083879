// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// src/pytracer/lang/script writes this file for each run; this one is for a script without probes.

static __always_inline int pt_spec_traces_calls(u32 program)
{
    return 0;
}

static __always_inline void pt_spec_save_entry(void *ctx, u32 program, u32 target, struct pt_call *to)
{
}
