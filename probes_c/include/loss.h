// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Everything that could not be recorded is counted here, by reason, and shown with the results.
// PT_ROWS_MAX is the capacity of the map of rows. The order of the reasons is that of pytracer.model.loss.REASONS.
enum pt_loss {
    PT_LOSS_MAP_FULL,      // a new row, but the map of rows was full
    PT_LOSS_INFLIGHT_FULL, // a call, connection or request began, but the map of those in flight was full
    PT_LOSS_FOLLOW_FULL,   // a process was born, but the map of followed processes was full
    PT_LOSS_RING_FULL,     // an event happened, but the ring was full
    PT_LOSS_TRUNCATED,     // a string was longer than the room for it
    PT_LOSS_STACKS_FULL,   // a stack, but its places in the maps of stacks were another's
    PT_LOSS_NO_RETURN,     // a function was called again, and its call before had not been seen to return
    PT_LOSS_UNREAD,        // a value for a histogram could not be read
    PT_LOSS_NEGATIVE,      // a value for a histogram was below 0
    PT_LOSS_UNWOUND,       // a call ended without a return: its frame was unwound, or its thread ended
    PT_LOSS_INDIRECT,      // a call ended in an indirect jump to another function
    PT_LOSS_REASONS,
};

BPF_PERCPU_ARRAY(pt_losses, u64, PT_LOSS_REASONS);

static __always_inline void pt_lost(int reason)
{
    u64 *lost = pt_losses.lookup(&reason);

    if (lost)
        (*lost)++;
}
