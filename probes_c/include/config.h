// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Values that change from run to run. They live in a map, not in macros, so that one compiled program
// serves them all. The plan numbers them: PT_CFG_<NAME> is a slot, PT_CFG_SLOTS the number of slots.
//
//     u64 pt_cfg(int slot)   the value of an option: pt_cfg(PT_CFG_MIN) of the one with config="min"
#ifdef PT_CFG_SLOTS
BPF_ARRAY(pt_config, u64, PT_CFG_SLOTS);

static __always_inline u64 pt_cfg(int slot)
{
    u64 *value = pt_config.lookup(&slot);

    return value ? *value : 0;
}
#endif
