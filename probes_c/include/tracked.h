// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// For tracers that probe only returns. Some functions end by a jump to another function: a return there belongs to them
// only if one of their calls is in flight. With PT_TRACKED the program "entered" is attached to such functions'
// entries.
#include "loss.h"
#include "target.h"
#include "task.h"

#ifdef PT_TRACKED
struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
};
#include "calls.h"

int entered(void *ctx)
{
    struct pt_call call = {};

    if (pt_may_trace_current())
        pt_call_enter(ctx, &call);
    return pt_pass();
}
#endif

// Return 1 if the program runs for the return of another function, or for a call that ends without a return.
static __always_inline int pt_is_foreign(void *ctx)
{
#ifdef PT_TRACKED
    struct pt_call call;
    u64 ns, point = pt_point();

    if ((point & PT_SITE) && (point & PT_RETURN))
        return !pt_call_exit(ctx, &call, &ns) && (point & (PT_TAIL | PT_INDIRECT));
#endif
    return 0;
}
