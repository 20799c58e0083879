// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The power-of-two slot of a value: floor(log2(v)), and 0 for 0. Without a loop: old verifiers have none.
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
