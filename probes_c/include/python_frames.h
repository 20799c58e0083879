// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The functions of Python programs, as part of unwind.h: CPython runs them in calls of its function
// _PyEval_EvalFrameDefault, whose frame in the stack is replaced by theirs: one each before Python 3.11, then many.
// User space finds the interpreter of each process and the offsets of its version (pytracer.symbols.python). A function
// is a code object: its address, the number of its name and PT_PYTHON_FUNCTION are in the stack. The name is read here
// when the code object is first seen, as the process may end.

#define PT_PYTHON_FUNCTION (1ULL << 63) // addresses of programs have 47 bits
#define PT_PYTHON_NUMBER   48 // the bits from here on are the number of a name, 0 if there was no room
#define PT_PYTHONS         4096
#define PT_PYTHON_CODES    32768
#define PT_PYTHON_HIDDEN   0xffffffff // the interpreter's own code, which Python does not show
#define PT_PYTHON_THREADS  1024 // and interpreters of a process, that are searched for the current thread
#define PT_PYTHON_TEXT     96
#define PT_PYTHON_WORDS    16   // that are read at once
#define PT_PYTHON_START    10   // words of a string: of its object 4, and the first characters
#define PT_BYTES_SIZE      16   // PyVarObject.ob_size
#define PT_COMPACT         0x20 // PyASCIIObject.state: the characters follow the object
#define PT_ASCII           0x40
#define PT_LONGEST_TEXT    65536 // characters; no name is that long

// Addresses in a process, and the offsets of members.
struct pt_python {
    u64 interpreters; // of _PyRuntime.interpreters.head
    u64 eval_start;   // of _PyEval_EvalFrameDefault
    u64 eval_size;
    u64 cold_start; // of the part of it that the compiler has put elsewhere
    u64 cold_size;
    u32 has_cframe; // the frame is the first member of a struct that the thread has (3.12), or the second (3.11)
    u32 has_entry_frames; // calls begin with a frame of their own, which is no function
    u32 is_unversioned;   // code objects have no number of their own (before 3.12)
    u32 end_kind;         // a frame with this at frame_kind, or more, is the last of a call
    u32 interpreter_next;
    u32 interpreter_threads;
    u32 thread_next;
    u32 thread_id;
    u32 thread_frame;
    u32 cframe_frame;
    u32 frame_code;
    u32 frame_previous;
    u32 frame_kind;
    u32 frame_size; // bytes, up to the last of these
    u32 code_start; // this many bytes from here on do not change, and tell it from another one at its address
    u32 code_size;
    u32 code_filename;
    u32 code_name;
    u32 code_qualname;
    u32 code_firstlineno;
    u32 text_length;
    u32 text_state;
    u32 text_ascii; // characters of strings that are ASCII, and of others
    u32 text_data;
    u32 code_linetable;
    u32 frame_instruction;
    u32 code_instructions; // 0: an instruction is a number (before 3.11)
    u32 minor;             // of the version 3.x
};

struct pt_python_code {
    u64 pid;
    u64 code;
};

struct pt_python_known {
    u64 check; // of the code object: another one may have got its address
    u64 number;
};

// With PT_PYTHON_LINES a stack has the instruction that a function is at, times 16, in place of the code object's
// address, where there is a number. Without, functions that are at several lines are one.
#define PT_PYTHON_PLACE_BITS 28
#define PT_PYTHON_NO_PLACE   ((1ULL << PT_PYTHON_PLACE_BITS) - 1)

#ifdef PT_PYTHON_LINES
// What user space needs to read a line table, and to see that the code object is still that one.
struct pt_python_table {
    u64 address;
    u64 code_start; // of the code object's part that is in "words"
    u64 code_size;
    u64 minor;
    u64 words[PT_PYTHON_WORDS];
    u64 text[PT_PYTHON_START]; // the size of the table, a hash that Python keeps, and the first bytes
};
#endif

// A name, of a long one the end. Element 0 has the count of all in "pid".
struct pt_python_name {
    u64 pid;
    u64 code;
    u32 line;
    u8 is_complete; // written last
    u8 name_width;  // bytes of a character: 1 (of Latin-1), 2 or 4; 0 if there is no name
    u8 name_size;   // bytes
    u8 file_width;
    u8 file_size;
    char name[PT_PYTHON_TEXT];
    char file[PT_PYTHON_TEXT];
#ifdef PT_PYTHON_LINES
    struct pt_python_table table;
#endif
};

// The Python functions of one walk.
struct pt_python_walk {
    struct pt_python python; // a copy
    u64 interpreter;
    u64 thread;
    u64 thread_id;
    u64 frame;
    u64 is_within; // the walk is at a call of _PyEval_EvalFrameDefault, whose functions are next
    u64 words[PT_PYTHON_WORDS];
    u64 text[PT_PYTHON_START];
};

BPF_HASH(unwind_pythons, u64, struct pt_python, PT_PYTHONS);
BPF_HASH(python_codes, struct pt_python_code, struct pt_python_known, PT_PYTHON_CODES);
BPF_ARRAY(python_names, struct pt_python_name, PT_PYTHON_CODES);

// Return whether an address is in _PyEval_EvalFrameDefault.
static __always_inline int pt_is_eval(struct pt_python_walk *walk, u64 address)
{
    struct pt_python *python = &walk->python;

    return address - python->eval_start < python->eval_size ||
           address - python->cold_start < python->cold_size;
}

// Read a string object. Returns the size; 0 if it is none.
static __always_inline u32 pt_read_python_text(char *text, u8 *width, u64 object, struct pt_python *python)
{
    u64 length = 0, size, data;
    u32 state = 0;

    pt_probe_read_user(&state, sizeof(state), (void *)(object + python->text_state));
    pt_read_word(&length, object + python->text_length);
    *width = state >> 2 & 7;
    if (!(state & PT_COMPACT) || !*width || length > PT_LONGEST_TEXT)
        return *width = 0;
    data = object + (state & PT_ASCII ? python->text_ascii : python->text_data);
    size = length * *width;
    if (size > PT_PYTHON_TEXT) {
        data += size - PT_PYTHON_TEXT;
        size = PT_PYTHON_TEXT;
    }
    pt_opaque(size); // the verifier needs the check at the access
    if (size > PT_PYTHON_TEXT || pt_probe_read_user(text, size, (void *)data))
        return *width = 0;
    return size;
}

// Keep the name of a function. Returns its number.
static __always_inline u64 pt_keep_python_name(struct pt_python_walk *walk, struct pt_python_code *key)
{
    struct pt_python *python = &walk->python;
    u64 qualname = 0, filename = 0, code = key->code;
    struct pt_python_name *name;
    u32 number = 0;

    if (pt_read_word(&qualname, code + python->code_qualname) ||
        pt_read_word(&filename, code + python->code_filename))
        return 0;
    if (qualname == filename) // _Py_InitCleanup, under a specialized call of a class
        return PT_PYTHON_HIDDEN;
    name = python_names.lookup(&number);
    if (!name || name->pid >= PT_PYTHON_CODES - 1)
        return 0;
    number = pt_fetch_add(&name->pid, 1) + 1;
    name = python_names.lookup(&number);
    if (!name)
        return 0;
    name->pid = key->pid;
    name->code = code;
    pt_probe_read_user(&name->line, sizeof(name->line), (void *)(code + python->code_firstlineno));
    name->name_size = pt_read_python_text(name->name, &name->name_width, qualname, python);
    name->file_size = pt_read_python_text(name->file, &name->file_width, filename, python);
#ifdef PT_PYTHON_LINES
    name->table.code_start = code + python->code_start;
    name->table.code_size = python->code_size;
    name->table.minor = python->minor;
    pt_read_word(&name->table.address, code + python->code_linetable);
    __builtin_memcpy(name->table.words, walk->words, sizeof(walk->words));
    pt_probe_read_user(name->table.text, sizeof(name->table.text),
                       (void *)(name->table.address + PT_BYTES_SIZE));
#endif
    name->is_complete = 1;
    return number;
}

// Read a part of an object into "words". Returns 0, or -1 if it cannot be read.
static __always_inline int pt_read_python_words(struct pt_python_walk *walk, u64 address, u64 size)
{
    pt_opaque(size); // the verifier needs the check at the access
    if (size > sizeof(walk->words))
        return -1;
    return pt_probe_read_user(walk->words, size, (void *)address) ? -1 : 0;
}

// Return the word at an offset in what was read.
static __always_inline u64 pt_python_word(struct pt_python_walk *walk, u32 offset)
{
    return walk->words[offset / 8 % PT_PYTHON_WORDS];
}

static __always_inline u64 pt_mix(u64 hash, u64 word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
    return hash ^ hash >> 29;
}

// Return a hash of what tells a code object from another one that gets its address later; 0 if it cannot be read.
static __always_inline u64 pt_check_python(struct pt_python_walk *walk, u64 code)
{
    struct pt_python *python = &walk->python;
    u64 hash = 1, name, word;
    s64 length;

    if (pt_read_python_words(walk, code + python->code_start, python->code_size))
        return 0;
#pragma unroll
    for (u32 i = 0; i < PT_PYTHON_WORDS; i++)
        if (8 * i < python->code_size)
            hash = pt_mix(hash, walk->words[i]);
    if (!python->is_unversioned)
        return hash;
    // The objects that it refers to may be new ones at their old addresses, too: the name is compared. What cannot be
    // read is 0.
    name = pt_python_word(walk, python->code_name - python->code_start);
    pt_probe_read_user(walk->text, sizeof(walk->text), (void *)(name + python->text_length));
    length = walk->text[0];
    hash = pt_mix(hash, length);
#pragma unroll
    for (u32 i = 4; i < PT_PYTHON_START; i++) {
        if (length <= 0)
            break;
        word = walk->text[i];
        hash = pt_mix(hash, length < 8 ? word & ((1ULL << 8 * length) - 1) : word);
        length -= 8;
    }
#ifdef PT_PYTHON_LINES
    // Functions may differ in their lines alone.
    name = pt_python_word(walk, python->code_linetable - python->code_start);
    pt_probe_read_user(walk->text, sizeof(walk->text), (void *)(name + PT_BYTES_SIZE));
    length = walk->text[0];
    hash = pt_mix(hash, length);
#pragma unroll
    for (u32 i = 2; i < PT_PYTHON_START; i++) {
        if (length <= 0)
            break;
        word = walk->text[i];
        hash = pt_mix(hash, length < 8 ? word & ((1ULL << 8 * length) - 1) : word);
        length -= 8;
    }
#endif
    return hash;
}

#ifdef PT_PYTHON_LINES
// Return the distance in bytes of the instruction that a frame is at, plus 1; PT_PYTHON_NO_PLACE if it is none.
static __always_inline u64 pt_python_place(struct pt_python *python, u64 frame, u64 code)
{
    u64 place = 0;

    if (pt_read_word(&place, frame + python->frame_instruction))
        return PT_PYTHON_NO_PLACE;
    if (python->code_instructions)
        place -= code + python->code_instructions;
    else
        place = (u32)place << (python->minor == 10); // from 3.10 on in units of two bytes
    return place < PT_PYTHON_NO_PLACE - 1 ? place + 1 : PT_PYTHON_NO_PLACE;
}
#endif

// Return the number of a function's name; PT_PYTHON_HIDDEN if it is none.
static __always_inline u64 pt_number_python(struct pt_python_walk *walk, u64 code)
{
    struct pt_python_code key = {.pid = bpf_get_current_pid_tgid() >> 32, .code = code};
    struct pt_python_known *known, new_code = {.check = pt_check_python(walk, code)};

    if (!new_code.check)
        return 0;
    known = python_codes.lookup(&key);
    if (known && known->check == new_code.check)
        return known->number;
    new_code.number = pt_keep_python_name(walk, &key);
    if (new_code.number)
        python_codes.update(&key, &new_code);
    return new_code.number;
}
