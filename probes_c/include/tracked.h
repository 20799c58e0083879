// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// For tracers that look at returns alone. Some functions jump to others at their end: a return of those is theirs only
// if one of their calls is under way there. With PT_TRACKED the program "enters" is put on such functions' entries.
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

int enters(void *ctx)
{
    struct pt_call call = {};

    if (pt_task() != PT_NO)
        pt_call_begins(ctx, &call);
    return pt_pass();
}
#endif

// Whether the program runs for something else: a stranger's return, or a call that ends without one.
static __always_inline int pt_is_foreign(void *ctx)
{
#ifdef PT_TRACKED
    struct pt_call call;
    u64 ns, point = pt_point();

    if ((point & PT_SITE) && (point & PT_RETURN))
        return !pt_call_ends(ctx, &call, &ns) && (point & (PT_TAIL | PT_LOST));
#endif
    return 0;
}
