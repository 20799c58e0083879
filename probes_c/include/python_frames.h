// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The functions of Python programs, as part of unwind.h: CPython runs many of them in one call of its function
// _PyEval_EvalFrameDefault, whose frame in the stack is replaced by theirs. User space finds the interpreter of each
// process and the offsets of its version (pytracer.symbols.python). A function is a code object: its address with
// PT_PYTHON_FUNCTION is in the stack, and its name is read here when it is first seen, as the process may end.

#define PT_PYTHON_FUNCTION (1ULL << 63) // addresses of programs have 47 bits
#define PT_PYTHONS         4096
#define PT_PYTHON_CODES    32768
#define PT_PYTHON_THREADS  1024 // of an interpreter, that are searched for the current one
#define PT_PYTHON_TEXT     96
#define PT_COMPACT_ASCII   0x60 // PyASCIIObject.state: compact and ascii

// Addresses in a process, and the offsets of members.
struct pt_python {
    u64 interpreters; // of _PyRuntime.interpreters.head
    u64 eval_start;   // of _PyEval_EvalFrameDefault
    u64 eval_end;
    u32 interpreter_threads;
    u32 thread_next;
    u32 thread_id;
    u32 thread_cframe;
    u32 cframe_frame;
    u32 frame_code;
    u32 frame_previous;
    u32 frame_is_entry;
    u32 code_filename;
    u32 code_qualname;
    u32 code_firstlineno;
    u32 text_length;
    u32 text_state;
    u32 text_data;
};

struct pt_python_code {
    u64 pid;
    u64 code;
};

struct pt_python_name {
    u32 line;
    char name[PT_PYTHON_TEXT];
    char file[PT_PYTHON_TEXT]; // the end of the path
};

// The Python functions of one walk.
struct pt_python_walk {
    u64 eval_start;
    u64 eval_end;
    u64 thread;
    u64 thread_id;
    u64 frame;
    u64 is_within; // the walk is at a call of _PyEval_EvalFrameDefault, whose functions are next
    struct pt_python_name name;
};

BPF_HASH(unwind_pythons, u64, struct pt_python, PT_PYTHONS);
BPF_HASH(python_codes, struct pt_python_code, struct pt_python_name, PT_PYTHON_CODES);

// Read a string object into "text", of a long one the end; empty if it has other characters than ASCII.
static __always_inline void pt_read_python_text(char *text, u64 object, struct pt_python *python)
{
    u64 length = 0, skipped = 0;
    u32 state = 0;

    text[0] = 0;
    pt_probe_read_user(&state, sizeof(state), (void *)(object + python->text_state));
    if ((state & PT_COMPACT_ASCII) != PT_COMPACT_ASCII)
        return;
    pt_read_word(&length, object + python->text_length);
    if (length >= PT_PYTHON_TEXT)
        skipped = length - PT_PYTHON_TEXT + 1;
    pt_probe_read_user_str(text, PT_PYTHON_TEXT, (void *)(object + python->text_data + skipped));
}

// Keep the name of a function, unless it is known.
static __always_inline void pt_keep_python_name(struct pt_python_walk *walk, struct pt_python *python,
                                                u64 code)
{
    struct pt_python_code key = {.pid = bpf_get_current_pid_tgid() >> 32, .code = code};
    u64 object = 0;

    if (python_codes.lookup(&key))
        return;
    walk->name.line = 0;
    pt_probe_read_user(&walk->name.line, sizeof(walk->name.line), (void *)(code + python->code_firstlineno));
    if (!pt_read_word(&object, code + python->code_qualname))
        pt_read_python_text(walk->name.name, object, python);
    if (!pt_read_word(&object, code + python->code_filename))
        pt_read_python_text(walk->name.file, object, python);
    python_codes.insert(&key, &walk->name);
}
