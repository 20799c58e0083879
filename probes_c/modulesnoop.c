// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show kernel modules that are loaded, unloaded and requested.
//
// The system calls have the caller, the file, the parameters and the error; the event in between has the name of the
// module.
#include "descriptor.h"
#include "task.h"
#include <linux/cred.h>
#include <linux/module.h>

#define NAME_LEN 64 // MODULE_NAME_LEN is 56

struct event {
    u64 ns;
    u32 pid;
    u32 tid;
    u32 ppid;
    u32 uid;
    u32 error; // 0: none
    char event[8];
    char comm[PT_COMM_LEN];
    char module[NAME_LEN];
    char file[NAME_LEN];
    char parameters[256];
};
#include "syscall_numbers.h"
#include "returns.h"
#define PT_RECORDS 2
#include "stream.h"

struct loaded {
    char name[NAME_LEN];
};
// The module that each task is loading.
BPF_TABLE("lru_hash", u64, struct loaded, loads, 1024);

enum kind { OTHER, INIT, FINIT, DELETE };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, init_module, 175, 128, 105, 128))
        return INIT;
    if (PT_IS(call, finit_module, 313, 350, 273, 379))
        return FINIT;
    return PT_IS(call, delete_module, 176, 129, 106, 129) ? DELETE : OTHER;
}

static __always_inline void fill(struct event *event)
{

    event->ns = bpf_ktime_get_ns();
    pt_fill_task(event);
    event->ppid = pt_current_parent();
    event->uid = bpf_get_current_uid_gid();
    event->error = 0;
    event->module[0] = event->file[0] = event->parameters[0] = 0;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    u64 task = bpf_get_current_task();
    int kind = kind_of(call->call);
    struct loaded *loaded;
    struct event *event;

    if (!kind)
        return PT_PASS;
    event = pt_is_shown_return(call) ? pt_prepare() : 0;
    if (!event) {
        loads.delete(&task);
        return PT_PASS;
    }
    fill(event);
    event->error = pt_is_failed(call->ret) ? -call->ret : 0;
    if (kind == DELETE) {
        __builtin_memcpy(event->event, "unload", 7);
        pt_read_string(event->module, sizeof(event->module), call->args[0], call->ret == -EFAULT);
    } else {
        __builtin_memcpy(event->event, "load", 5);
        pt_read_string(event->parameters, sizeof(event->parameters), call->args[kind == INIT ? 2 : 1],
                       call->ret == -EFAULT);
        if (kind == FINIT)
            pt_file_name(event->file, sizeof(event->file), pt_file_of(call->args[0]));
        loaded = loads.lookup(&task);
        if (loaded) {
            __builtin_memcpy(event->module, loaded->name, sizeof(event->module));
            loads.delete(&task);
        }
    }
    pt_send(ctx, event, sizeof(*event));
    return PT_PASS;
}

#ifdef HOOK_MODULE_RAW_TRACEPOINT
// module_load(module), in the call that loads it
int loading(struct bpf_raw_tracepoint_args *ctx)
{
    u64 task = bpf_get_current_task();
    struct module *module = (struct module *)ctx->args[0];
    struct loaded loaded = {};

    pt_probe_read_kernel_str(loaded.name, sizeof(loaded.name), &module->name);
    if (loads.update(&task, &loaded))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return PT_PASS;
}

// module_request(name, wait, ip), in the task that needs it
int requested(struct bpf_raw_tracepoint_args *ctx)
{
#ifndef FAILED
    struct event *event;

    if (!pt_is_current_traced())
        return PT_PASS;
    event = pt_prepare_in(1);
    if (!event)
        return PT_PASS;
    fill(event);
    __builtin_memcpy(event->event, "request", 8);
    pt_probe_read_kernel_str(event->module, sizeof(event->module), (void *)ctx->args[0]);
    pt_send(ctx, event, sizeof(*event));
#endif
    return PT_PASS;
}
#endif
