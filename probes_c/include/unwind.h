// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Walks the user stack of the current task by tables, for code without frame pointers. Included by stack.h if this
// kernel can (PT_UNWIND, plan/defines.py). User space makes the tables of the files' call frame information
// (pytracer.symbols.unwind) and keeps them here for the processes that were sampled (pytracer.trace.unwinding).
//
//     struct pt_unwind_state *pt_walk_stack(u64 image, int shows_python)
//                                    the stack, to be given back by pt_end_use(); null if frame pointers have to serve:
//                                    nothing is known of this process and its code, or too many programs use a state
#include "loops.h"
#include "members.h"
#include <linux/fs.h>

#define PT_UNWOUND_DEPTH 127
#define PT_UNWIND_STATES 4 // programs that may interrupt each other on a CPU, or preempt
#define PT_UNWIND_TABLES 4096
#define PT_UNWIND_SPACES 16384
#define PT_UNWIND_FILES  16384
#define PT_UNWIND_FOUND  4096
#define PT_FOUND_REGIONS 16
#define PT_INNER_MAP     (1 << 12) // BPF_F_INNER_MAP (Linux 5.10, 4a8f87e60f6d): inner arrays of any size
#define PT_USER_CS       0x33      // __USER_CS of 64-bit code
#define PT_TABLE_STEPS   25        // bisections of a table, and of a process's regions
#define PT_REGION_STEPS  13

// How to find the CFA, the stack pointer before the call: pytracer.symbols.unwind.table.Rule. Where a walk ends, the
// rule is the reason for the end, as are those behind PT_RULE_NONE.
enum pt_rule {
    PT_RULE_END,
    PT_RULE_RSP,
    PT_RULE_RBP,
    PT_RULE_DEREF_RBP,
    PT_RULE_SAVED_RSP,
    PT_RULE_PLT,
    PT_RULE_SIGNAL,
    PT_RULE_EXPRESSION,
    PT_RULE_REGISTER,
    PT_RULE_NONE,
    PT_END_UNMAPPED, // no file with code is known at the address
    PT_END_MEMORY,   // the stack cannot be read, or does not grow
    PT_END_DEPTH,    // the stack has more frames
    PT_END_FALLBACK, // frame pointers were used: the code was not known yet, or is that of a 32-bit process
    PT_ENDS
};

#ifndef PT_NO_CALL_BIAS
#define PT_NO_CALL_BIAS 1 // 0 where the addresses themselves are shown
#endif
#define PT_FIRST_SCRATCH 6   // r11: those before it in struct pt_regs are saved by the code that is called
#define PT_RBP_AT_RBP    255 // the caller's RBP is where RBP points to

struct pt_unwind_row {
    u32 start;
    u16 cfa_offset;
    u8 rbp;
    u8 rule;
};

// A mapping of code. An address minus the bias is the "start" of the table's rows. The first element of a process's
// array is a header, whose "rows" is the number of regions.
struct pt_unwind_region {
    u64 start;
    u64 end;
    u64 bias;
    u32 table;
    u32 rows;
};

// A part of a file that programs map as code, by the page that it begins at. A file that was rewritten is another one:
// "changed" is its ctime in nanoseconds.
struct pt_unwind_part {
    u64 device;
    u64 inode;
    u64 changed;
    u64 offset;
};

// The table of a part; "start" is that of the row for its first byte.
struct pt_unwind_code {
    u64 start;
    u32 table;
    u32 rows;
};

// Regions that were found without user space, which forgets them soon: a process is not known for a few samples.
struct pt_unwind_process {
    u64 image;
    u64 pid;
};

struct pt_unwind_found {
    u64 count;
    struct pt_unwind_region regions[PT_FOUND_REGIONS];
};

struct pt_unwound {
    u64 hash;
    u32 count;
    u32 end; // enum pt_rule
    u64 frames[PT_UNWOUND_DEPTH];
};

static __always_inline int pt_read_word(u64 *word, u64 address)
{
    return pt_probe_read_user(word, sizeof(*word), (void *)address) ? -1 : 0;
}
#include "python_frames.h"

// One walk. The hash begins with a random number, so that no program can choose it.
struct pt_unwind_state {
    struct pt_unwound stack;
    struct pt_unwind_region region;
    u64 image;
    u64 ip;
    u64 sp;
    u64 bp;
    u64 busy;
    u64 seed;
    u64 registers[16]; // as struct pt_regs begins, of the code that was interrupted
    u64 has_registers;
    u64 is_late;  // some code's table was not loaded yet
    u64 is_exact; // ip was interrupted; otherwise a call returns to it, which may be the next function already
    struct pt_python_walk python;
};

struct pt_unwinding {
    u32 index;
    u32 level;
};

BPF_F_TABLE("array", u32, struct pt_unwind_row, unwind_table, 1, PT_INNER_MAP);
BPF_F_TABLE("array", u32, struct pt_unwind_region, unwind_space, 1, PT_INNER_MAP);
BPF_ARRAY_OF_MAPS(unwind_tables, "unwind_table", PT_UNWIND_TABLES);
BPF_HASH_OF_MAPS(unwind_spaces, u64, "unwind_space", PT_UNWIND_SPACES);
#ifdef PT_HAS_FIND_VMA
BPF_HASH(unwind_files, struct pt_unwind_part, struct pt_unwind_code, PT_UNWIND_FILES);
BPF_ARRAY(unwind_nothing, struct pt_unwind_found, 1);
BPF_HASH(unwind_found, struct pt_unwind_process, struct pt_unwind_found, PT_UNWIND_FOUND);
#endif
BPF_PERCPU_ARRAY(unwind_states, struct pt_unwind_state, PT_UNWIND_STATES);
BPF_PERCPU_ARRAY(unwind_ends, u64, PT_ENDS);

// Find the last element of an array that does not begin behind "start"; the first if there is none. Elements begin with
// a number of "width" bytes, by which they are sorted.
static __always_inline void *pt_bisect(void *elements, u32 count, u64 start, int width, int steps)
{
    u32 low = 0, high = count, middle;
    void *element;

    PT_LOOP_PRAGMA
    for (int i = 0; i < steps; i++) {
        if (high - low <= 1)
            break;
        middle = low + (high - low) / 2;
        element = bpf_map_lookup_elem(elements, &middle);
        if (!element)
            return 0;
        if ((width == 8 ? *(u64 *)element : *(u32 *)element) <= start)
            low = middle;
        else
            high = middle;
    }
    middle = low;
    return bpf_map_lookup_elem(elements, &middle);
}

#ifdef PT_HAS_FIND_VMA
struct pt_unwind_mapping {
    struct vm_area_struct *vma;
    struct pt_unwind_region region; // empty if the mapping is of no part with a table
};

static __always_inline u64 pt_change_time(struct inode *inode)
{
#if PT_HAS_inode__i_ctime_sec // Linux 6.11, 3aa63a569c64
    return inode->i_ctime_sec * 1000000000ULL + (inode->i_ctime_nsec & ~(1u << 31)); // I_CTIME_QUERIED
#elif PT_HAS_inode____i_ctime // Linux 6.6, 13bc24457850
    return inode->__i_ctime.tv_sec * 1000000000ULL + inode->__i_ctime.tv_nsec;
#else
    return inode->i_ctime.tv_sec * 1000000000ULL + inode->i_ctime.tv_nsec;
#endif
}

PT_VMA_BODY(2, struct pt_unwind_mapping *mapping)
{
    struct vm_area_struct *vma = mapping->vma;
    struct pt_unwind_region *region = &mapping->region;
    struct file *file = vma->vm_file;
    struct pt_unwind_part part = {};
    struct pt_unwind_code *code;
    struct inode *inode;

    if (!file)
        return 0;
    inode = file->f_inode;
    part.device = inode->i_sb->s_dev;
    part.inode = inode->i_ino;
    part.changed = pt_change_time(inode);
    part.offset = vma->vm_pgoff * PAGE_SIZE;
    code = unwind_files.lookup(&part);
    if (!code || !(vma->vm_flags & 4)) // VM_EXEC
        return 0;
    region->start = vma->vm_start;
    region->end = vma->vm_end;
    region->bias = vma->vm_start - code->start;
    region->table = code->table;
    region->rows = code->rows;
    return 0;
}

// Keep a region that was found, once: another program may add one at the same time.
static __always_inline void pt_keep_found(struct pt_unwind_process *process, struct pt_unwind_region *region)
{
    struct pt_unwind_found *found = unwind_found.lookup(process);
    u32 zero = 0, slot;
    struct pt_unwind_found *empty;

    if (!found) {
        empty = unwind_nothing.lookup(&zero);
        if (empty)
            unwind_found.insert(process, empty);
        found = unwind_found.lookup(process);
    }
    if (!found)
        return;
    slot = pt_fetch_add(&found->count, 1);
    pt_opaque(slot);
    if (slot >= PT_FOUND_REGIONS)
        return;
    found->regions[slot].start = region->start;
    found->regions[slot].bias = region->bias;
    found->regions[slot].table = region->table;
    found->regions[slot].rows = region->rows;
    *(volatile u64 *)&found->regions[slot].end = region->end; // the last: without an end it holds no address
}

// Find the region of an address by the kernel's own mappings, for code that user space does not know of yet, in a file
// whose table is loaded. With interrupts off the kernel allows this once, so what was found is kept. Returns 0, or -1.
static __always_inline int pt_find_mapped(struct pt_unwind_state *state, u64 address)
{
    struct pt_unwind_process process = {.image = state->image, .pid = bpf_get_current_pid_tgid() >> 32};
    struct pt_unwind_found *found = unwind_found.lookup(&process);
    struct pt_unwind_mapping mapping = {};

    PT_LOOP_PRAGMA
    for (int i = 0; found && i < PT_FOUND_REGIONS; i++)
        if (address >= found->regions[i].start && address < found->regions[i].end) {
            state->region = found->regions[i];
            return 0;
        }
    if (PT_VMA_RUN(2, address, &mapping) || !mapping.region.end)
        return -1;
    state->region = mapping.region;
    pt_keep_found(&process, &mapping.region);
    return 0;
}
#else
#define pt_find_mapped(state, address) (-1)
#endif

// Find the region of an address among those that user space has read. Returns 0, or -1 if there is none.
static __always_inline int pt_find_region(struct pt_unwind_state *state, u64 address)
{
    u64 image = state->image;
    struct pt_unwind_region *region;
    void *space = unwind_spaces.lookup(&image);
    u32 header = 0;

    if (!space)
        return -1;
    region = bpf_map_lookup_elem(space, &header);
    if (!region)
        return -1;
    region = pt_bisect(space, region->rows + 1, address, sizeof(region->start), PT_REGION_STEPS);
    if (!region || address >= region->end) // the header ends at 0
        return -1;
    state->region = *region;
    return 0;
}

// Find the row of an address in the current region; null if there is none.
static __always_inline struct pt_unwind_row *pt_find_row(struct pt_unwind_state *state, u64 address)
{
    u32 number = state->region.table, start = address - state->region.bias;
    void *table = unwind_tables.lookup(&number);

    if (!table)
        return 0;
    return pt_bisect(table, state->region.rows, start, sizeof(start), PT_TABLE_STEPS);
}

static __always_inline int pt_end_walk(struct pt_unwind_state *state, u32 reason)
{
    state->stack.end = reason;
    return 1;
}

// Go from the frame of a signal handler to the code that was interrupted: the kernel's struct ucontext on the stack has
// its registers.
static __always_inline int pt_leave_signal(struct pt_unwind_state *state)
{
    u64 frame = state->sp;

    if (pt_read_word(&state->bp, frame + 120) || pt_read_word(&state->sp, frame + 160) ||
        pt_read_word(&state->ip, frame + 168))
        return -1;
    state->is_exact = 1;
    state->has_registers = 0;
    return 0;
}

// Go to the caller of a frame with this row.
static __always_inline int pt_leave_call(struct pt_unwind_state *state, u32 rule, u32 offset, u32 rbp)
{
    u64 cfa = 0, sp = state->sp, bp = state->bp;

    if (rule == PT_RULE_RSP)
        cfa = sp + 8 * offset;
    else if (rule == PT_RULE_RBP)
        cfa = bp + 8 * offset;
    else if (rule == PT_RULE_PLT)
        cfa = sp + 8 + ((state->ip & 15) >= offset ? 8 : 0);
    else if (rule == PT_RULE_DEREF_RBP) {
        if (pt_read_word(&cfa, bp - 8 * offset))
            return -1;
    } else if (rule == PT_RULE_SAVED_RSP) { // the lowest bit of the offset says what it is relative to
        if (pt_read_word(&cfa, (offset & 1 ? bp : sp) + 4 * (s64)(s16)(offset & ~1u)))
            return -1;
        cfa += 8;
    } else if (rule == PT_RULE_REGISTER) {
        cfa = state->registers[offset & 15] + 8 * (offset >> 4);
    } else { // code without a row, or without a table, may have a frame pointer
        cfa = bp + 16;
        rbp = 2;
    }
    if (cfa <= sp)
        return -1;
    if (rbp == PT_RBP_AT_RBP) {
        if (pt_read_word(&state->bp, bp))
            return -1;
    } else if (rbp && pt_read_word(&state->bp, cfa - 8 * rbp))
        return -1;
    if (pt_read_word(&state->ip, cfa - 8))
        return -1;
    state->sp = cfa;
    state->is_exact = 0;
    return 0;
}

// Add an address to the stack. Returns 1, which ends the walk, if it has no room.
static __always_inline int pt_add_frame(struct pt_unwind_state *state, u64 address)
{
    u64 frame = state->stack.count;
    u64 hash;

    pt_opaque(frame); // the verifier needs the check at the access, and of all 64 bits
    if (frame >= PT_UNWOUND_DEPTH)
        return 1;
    state->stack.frames[frame] = address;
    state->stack.count = frame + 1;
    hash = (state->stack.hash ^ address) * 0x9e3779b97f4a7c15ULL;
    state->stack.hash = hash ^ hash >> 29;
    return 0;
}

// Add the function that ip is in. User space looks up the address before each frame but the first, since that is the
// call. Code that no call leads to is PT_NO_CALL_BIAS further.
static __always_inline int pt_add_ip(struct pt_unwind_state *state)
{
    struct pt_python_walk *python = &state->python;

    if (python->frame && pt_is_eval(python, state->ip - !state->is_exact)) {
        python->is_within = 1;
        return 0;
    }
    return pt_add_frame(state, state->ip + PT_NO_CALL_BIAS * (state->is_exact && state->stack.count));
}

// Add the next Python function of a call of the interpreter. Returns 1 if the stack has no room.
static __always_inline int pt_add_python(struct pt_unwind_state *state)
{
    struct pt_python_walk *walk = &state->python;
    struct pt_python *python = &walk->python;
    u64 code, number, frame = walk->frame;
    u8 kind;

    walk->is_within = 0;
    walk->frame = 0;
    if (pt_read_python_words(walk, frame, python->frame_size))
        return 0;
    code = pt_python_word(walk, python->frame_code);
    walk->frame = pt_python_word(walk, python->frame_previous);
    kind = pt_python_word(walk, python->frame_kind) >> python->frame_kind % 8 * 8;
    walk->is_within = kind < python->end_kind && walk->frame;
    code &= ~7ULL; // from Python 3.14 on a reference says in these bits whether it is counted
    if (!code || (python->has_entry_frames && kind >= python->end_kind))
        return 0;
    number = pt_number_python(walk, code);
    if (number == PT_PYTHON_HIDDEN)
        return 0;
#ifdef PT_PYTHON_LINES
    if (number)
        code = pt_python_place(python, frame, code) << 4;
#endif
    return pt_add_frame(state, code | number << PT_PYTHON_NUMBER | PT_PYTHON_FUNCTION);
}

// A row names a register that calls may change only if the called code, in assembler, does not. Others belong to
// callers once the called code has saved them.
static __always_inline int pt_knows(struct pt_unwind_state *state, u32 index)
{
    return state->has_registers && (state->is_exact || index >= PT_FIRST_SCRATCH);
}

PT_LOOP_BODY(62, struct pt_unwinding *unwinding)
{
    u32 level = unwinding->level, rule = PT_RULE_NONE, offset = 0, rbp = 0, last;
    struct pt_unwind_state *state = unwind_states.lookup(&level);
    struct pt_unwind_row *row;
    u64 address;

    if (!state)
        return 1;
    if (state->python.is_within)
        return pt_add_python(state);
    address = state->ip - !state->is_exact;
    if (address - state->region.start >= state->region.end - state->region.start &&
        pt_find_region(state, address) && pt_find_mapped(state, address))
        rule = PT_END_UNMAPPED; // a library that was just loaded: it may have frame pointers
    row = rule == PT_RULE_NONE ? pt_find_row(state, address) : 0;
    if (row) {
        rule = row->rule;
        offset = row->cfa_offset;
        rbp = row->rbp;
    }
    state->is_late |= rule == PT_END_UNMAPPED;
    if (rule == PT_RULE_NONE && !state->bp) // the ABI's mark of the first frame: Go's goroutines have it
        rule = PT_RULE_END;
    if (rule == PT_RULE_END || rule == PT_RULE_EXPRESSION ||
        (rule == PT_RULE_REGISTER && !pt_knows(state, offset & 15)))
        return pt_end_walk(state, rule);
    if (rule == PT_RULE_SIGNAL && !state->is_exact) {
        last = state->stack.count - 1;
        pt_opaque(last);
        if (last < PT_UNWOUND_DEPTH) // as in pt_add_ip: no call leads to this code
            state->stack.frames[last] += PT_NO_CALL_BIAS;
    }
    if (rule == PT_RULE_SIGNAL ? pt_leave_signal(state) : pt_leave_call(state, rule, offset, rbp))
        return pt_end_walk(state, rule == PT_RULE_NONE || rule == PT_END_UNMAPPED ? rule : PT_END_MEMORY);
    if (!state->ip)
        return pt_end_walk(state, PT_RULE_END);
    return pt_add_ip(state);
}

// Find the current thread among those of the interpreters, of which the main one is the last: by what pthread_self()
// returns there, the FS base. A thread of several interpreters runs in the last that it called.
PT_LOOP_BODY(63, struct pt_unwinding *unwinding)
{
    u32 level = unwinding->level;
    struct pt_unwind_state *state = unwind_states.lookup(&level);
    struct pt_python_walk *walk;
    struct pt_python *python;
    u64 id = 0, frame = 0;

    if (!state)
        return 1;
    walk = &state->python;
    python = &walk->python;
    if (!walk->thread) {
        if (!walk->interpreter ||
            pt_read_word(&walk->thread, walk->interpreter + python->interpreter_threads) ||
            pt_read_word(&walk->interpreter, walk->interpreter + python->interpreter_next))
            return 1;
        return 0;
    }
    pt_read_word(&id, walk->thread + python->thread_id);
    if (id == walk->thread_id) {
        pt_read_word(&frame, walk->thread + python->thread_frame);
        if (python->has_cframe)
            pt_read_word(&frame, frame + python->cframe_frame);
        walk->frame = frame;
        if (frame)
            return 1;
    }
    if (pt_read_word(&walk->thread, walk->thread + python->thread_next))
        walk->thread = 0;
    return 0;
}

// Find the innermost Python function of the current thread, if it runs Python.
static __always_inline void pt_find_python(struct pt_unwind_state *state, struct pt_unwinding *unwinding)
{
    struct pt_python_walk *walk = &state->python;
    u64 image = state->image;
    struct pt_python *python = unwind_pythons.lookup(&image);

    walk->frame = walk->is_within = walk->thread = walk->interpreter = 0;
    if (!python)
        return;
    walk->python = *python;
    walk->thread_id = bpf_get_current_task_btf()->thread.fsbase;
    pt_read_word(&walk->interpreter, python->interpreters);
    PT_LOOP_RUN(63, PT_PYTHON_THREADS, unwinding);
}

static __always_inline void pt_count_end(u32 reason)
{
    u64 *count = unwind_ends.lookup(&reason);

    if (count)
        (*count)++;
}

// Claim a state of this CPU. Another program may interrupt this one, or preempt it, at any instruction.
static __always_inline struct pt_unwind_state *pt_claim_state(u32 *level)
{
    struct pt_unwind_state *state;

#pragma unroll
    for (u32 i = 0; i < PT_UNWIND_STATES; i++) {
        *level = i;
        state = unwind_states.lookup(level);
        if (state && !__sync_val_compare_and_swap(&state->busy, 0, 1))
            return state;
    }
    return 0;
}

static __always_inline struct pt_unwind_state *pt_walk_stack(u64 image, int shows_python)
{
    struct pt_unwinding unwinding = {};
    struct pt_regs *regs = pt_registers(0);
    struct pt_unwind_state *state = 0;

    if (!image)
        return 0;
    if ((u16)pt_register(regs, cs) == PT_USER_CS)
        state = pt_claim_state(&unwinding.level);
    if (state) {
        state->image = image;
        state->region.start = state->region.end = 0;
        state->ip = pt_register(regs, ip);
        if (!unwind_spaces.lookup(&image) && pt_find_mapped(state, state->ip)) {
            state->busy = 0;
            state = 0;
        }
    }
    if (!state) {
        pt_count_end(PT_END_FALLBACK);
        return 0;
    }
    state->sp = pt_register(regs, sp);
    state->bp = pt_register(regs, bp);
    state->is_exact = state->has_registers = 1;
    bpf_probe_read_kernel(state->registers, sizeof(state->registers), regs);
    state->is_late = 0;
    state->stack.hash = state->seed;
    state->stack.count = 0;
    state->stack.end = PT_END_DEPTH;
    if (shows_python)
        pt_find_python(state, &unwinding);
    else
        state->python.frame = state->python.is_within = 0;
    pt_add_ip(state);
    PT_LOOP_RUN(62, 3 * PT_UNWOUND_DEPTH, &unwinding); // two steps of a call of the interpreter add no frame
    pt_count_end(state->is_late ? PT_END_FALLBACK : state->stack.end);
    return state;
}

static __always_inline void pt_end_use(struct pt_unwind_state *state)
{
    state->busy = 0;
}
