// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Counts losses by reason; user space shows them with the results. The order of the reasons is that of
// pytracer.model.loss.REASONS. PT_ROWS_MAX is the capacity of the map of rows.
//
//     void pt_lost(int reason)   count one loss: pt_lost(PT_LOSS_INFLIGHT_FULL)
enum pt_loss {
    PT_LOSS_MAP_FULL,      // a new row, but the map of rows was full
    PT_LOSS_INFLIGHT_FULL, // a call, connection or request began, but the map of those in flight was full
    PT_LOSS_FOLLOW_FULL,   // a followed process forked, but the map of followed processes was full
    PT_LOSS_RING_FULL,     // an event happened, but the ring was full
    PT_LOSS_TRUNCATED,     // a string was longer than its field
    PT_LOSS_STACKS_FULL,   // a stack, but other stacks had its slots in both maps
    PT_LOSS_NO_RETURN,     // the return of an earlier call was not seen
    PT_LOSS_UNREAD,        // a value for a histogram could not be read
    PT_LOSS_NEGATIVE,      // a value for a histogram was below 0
    PT_LOSS_UNWOUND,       // a call ended without a return: its frame was unwound, or its thread ended
    PT_LOSS_INDIRECT,      // a call ended in an indirect jump to another function
    PT_LOSS_LOOP_CUT,      // a loop of a script went on for too many turns, and was ended
    PT_LOSS_COMPAT, // a 32-bit program was executed, whose system calls raise none of these trace events
    PT_LOSS_REASONS,
};

BPF_PERCPU_ARRAY(pt_losses, u64, PT_LOSS_REASONS);

static __always_inline void pt_lost(int reason)
{
    u64 *lost = pt_losses.lookup(&reason);

    if (lost)
        (*lost)++;
}
