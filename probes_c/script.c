// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Run a script: its blocks are compiled to the functions of generated_script.h (src/pytracer/lang/script).
// SCRIPT_EVENT_WORDS is the length of the longest event's values, PT_RECORDS the number of programs.
#define PT_SPEC_NUMBERS   1
#define PT_SPEC_TEXTS     1
#define PT_SPEC_TEXT_SIZE 8
#include "probe_specs.h"

struct event {
    u64 ns;
    u32 action; // the number of the action for user space, in the order of CompiledScript.actions
    u32 program;
    u8 data[SCRIPT_EVENT_WORDS * 8];
};
#include "stream.h"
#ifdef PT_UNWIND
#define PT_NO_CALL_BIAS 0
#include "images.h"
#include "unwind.h"
#endif
#include "script_values.h"
#include "generated_script.h"
