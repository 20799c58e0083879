// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The histogram bucket of a value (pytracer.model.buckets). No loop, because old verifiers accept none.
//
//     u32 pt_bucket(u64 value)   the bucket, for the key's member "slot"
//     u32 pt_log2(u64 value)     the floor of the binary logarithm; 0 for 0

// floor(log2(v)), and 0 for 0.
static __always_inline u32 pt_log2(u64 v)
{
    u32 slot = 0;

    if (v >> 32) {
        slot += 32;
        v >>= 32;
    }
    if (v >> 16) {
        slot += 16;
        v >>= 16;
    }
    if (v >> 8) {
        slot += 8;
        v >>= 8;
    }
    if (v >> 4) {
        slot += 4;
        v >>= 4;
    }
    if (v >> 2) {
        slot += 2;
        v >>= 2;
    }
    return slot + (v >> 1 ? 1 : 0);
}

// Each value below 8 has its own bucket; above, each power of two is divided into 8.
static __always_inline u32 pt_bucket(u64 v)
{
    u32 shift = pt_log2(v | 8) - 3;

    return v < 8 ? v : (shift << 3) + (u32)(v >> shift);
}
