// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Filters events by kind, with the numbers that the tracer gives to kinds (a NameSet with names).
#ifdef PT_ONLY
BPF_HASH(pt_kinds, u64, u8, 16);
#endif

static __always_inline int pt_is_shown(u64 kind)
{
#if defined(PT_ONLY_EXCEPT)
    return !pt_kinds.lookup(&kind);
#elif defined(PT_ONLY)
    return !!pt_kinds.lookup(&kind);
#else
    return 1;
#endif
}
