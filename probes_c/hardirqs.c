// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure the time in handlers of hardware interrupts, which run with interrupts off: one at a time on a CPU.
#include "read.h"
#include <linux/interrupt.h>

#define NAME_LEN 32

struct row_key {
#ifdef BY_IRQ
    u32 irq;
    char name[NAME_LEN];
#endif
#ifdef BY_CPU
    u32 cpu;
#endif
#ifdef LATENCY
    u32 slot;
#endif
#if !defined(BY_IRQ) && !defined(BY_CPU) && !defined(LATENCY)
    u32 all;
#endif
};
#include "interrupts.h"

int entered(void *ctx)
{
    return pt_handler_enter();
}

#if defined(HOOK_HARDIRQ_RAW_TRACEPOINT)
// irq_handler_exit(irq, action, ret)
int left(struct bpf_raw_tracepoint_args *ctx)
{
    struct row_key key;

    __builtin_memset(&key, 0, sizeof(key));
#ifdef BY_IRQ
    struct irqaction *action = (struct irqaction *)ctx->args[1];

    key.irq = ctx->args[0];
    pt_probe_read_kernel_str(&key.name, sizeof(key.name), (void *)pt_read(action->name));
#endif
    return pt_handler_exit(&key);
}
#endif
