// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Keeps what the arguments of USDT probes were, and how often each place was passed.
#include "usdt.h"

struct seen {
    u64 count;
    s64 values[PT_USDT_ARGS];
    s64 errors[PT_USDT_ARGS];
};
BPF_ARRAY(seen, struct seen, PT_USDT_SITES);

#ifdef NO_COOKIES
BPF_ARRAY(now_at, u32, 1);
#endif

int mark(void *ctx)
{
#ifdef NO_COOKIES // before Linux 5.15: one place after the other
    u32 place = 0, *now = now_at.lookup(&place);

    if (!now)
        return PT_PASS;
    place = *now;
#else
    u32 place = bpf_get_attach_cookie(ctx);
#endif
    struct seen *seen_here = seen.lookup(&place);
    u64 value;

    if (!seen_here)
        return PT_PASS;
    __sync_fetch_and_add(&seen_here->count, 1);
#pragma unroll
    for (int n = 0; n < PT_USDT_ARGS; n++) {
        seen_here->errors[n] = pt_usdt_read(ctx, place, n, &value);
        seen_here->values[n] = value;
    }
    return PT_PASS;
}
