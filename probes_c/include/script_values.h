// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Helpers for the C that src/pytracer/lang/script generates. Addresses are numbers; "to" is always one of the program's
// own memory, and sizes are multiples of 8 that the compiler knows.

static u64 (*script_boot_ns)(void) =
    (void *)125; // bpf_ktime_get_boot_ns, which BCC before 0.17 does not know
static u64 (*script_jiffies)(void) = (void *)118;
static u64 (*script_tai_ns)(void) = (void *)208;
static long (*script_get_stack)(void *ctx, void *buf, u32 size, u64 flags) = (void *)67;
static long (*script_d_path)(void *path, char *to, u32 size) = (void *)147;
static long (*script_trace)(const char *format, u32 size, u64 a, u64 b, u64 c) = (void *)6;
static long (*script_override)(void *ctx, u64 result) = (void *)58;
static long (*script_signal)(u32 sig) = (void *)109;
static long (*script_get_ns_pid)(u64 device, u64 namespace, void *ids, u32 size) = (void *)120;
static long (*script_signal_thread)(u32 sig) = (void *)117;
static long (*script_probe_write_user)(void *to, const void *from, u32 size) = (void *)36;

// A loop over the entries of a map. Its body is a function of its own, named by a number, which gets this struct and
// returns 1 to end the loop (bpf_for_each_map_elem, Linux 5.13).
#define SCRIPT_WALK 0x7079547261637480ULL // pytracer.bpf.compile.bpf_loop.MARK, for callbacks of this kind
#define SCRIPT_LOOP 0x7079547261637400ULL // pytracer.bpf.compile.bpf_loop.MARK
#define SCRIPT_MAP  0x7079547261637600ULL // pytracer.bpf.compile.bpf_loop.MAP_MARK

struct script_walk {
    u64 key;
    u64 value;
    void *ctx;
    void *memory;
    u32 target;
    u32 returns; // 1 once the body returns from the whole block
};

static long (*script_for_each)(u64 map, u64 body, void *context, u64 flags) = (void *)164;

#define script_walk(map, body, context)                                                                      \
    ({                                                                                                       \
        u64 map_ = SCRIPT_MAP | (map), body_ = SCRIPT_WALK | (body);                                         \
        pt_opaque(map_);                                                                                     \
        pt_opaque(body_);                                                                                    \
        script_for_each(map_, body_, context, 0);                                                            \
    })

static void *(*script_lookup_percpu)(u64 map, u64 key, u32 cpu) = (void *)195;

// The value of a key on another CPU (bpf_map_lookup_percpu_elem, Linux 5.19).
#define script_lookup_on_cpu(map, key, cpu)                                                                  \
    ({                                                                                                       \
        u64 map_ = SCRIPT_MAP | (map);                                                                       \
        pt_opaque(map_);                                                                                     \
        script_lookup_percpu(map_, key, cpu);                                                                \
    })

static long (*script_call)(u32 count, u64 body, void *context, u64 flags) = (void *)181;

// A loop over numbers: the body gets the index in the lower half of "key" (bpf_loop, Linux 5.17).
#define script_loop(count, body, context)                                                                    \
    ({                                                                                                       \
        u64 body_ = SCRIPT_LOOP | (body);                                                                    \
        pt_opaque(body_);                                                                                    \
        script_call(count, body_, context, 0);                                                               \
    })

// Values that are set when the run begins: 0: the boot clock, 1: the process of the command, 2: the Unix time at which
// the boot clock began. 3: not 0 once the script has called exit().
BPF_ARRAY(script_run, u64, 4);

static __always_inline u64 script_run_value(u32 slot)
{
    u64 *value = script_run.lookup(&slot);

    return value ? *value : 0;
}

static __always_inline void script_stop(void)
{
    u32 slot = 3;
    u64 *value = script_run.lookup(&slot);

    if (value)
        *value = 1;
}

// The process and thread of the current task, as pytracer's own pid namespace numbers them.
static __always_inline u64 script_pid_tgid(void)
{
#ifdef SCRIPT_PID_NAMESPACE
    struct {
        u32 pid;
        u32 tgid;
    } ids = {};

    if (script_get_ns_pid(SCRIPT_PID_NAMESPACE_DEVICE, SCRIPT_PID_NAMESPACE, &ids, sizeof(ids)))
        return 0; // it is outside
    return (u64)ids.tgid << 32 | ids.pid;
#else
    return bpf_get_current_pid_tgid();
#endif
}

// Reading address 0 fails, and the kernel then clears the memory: one call whatever the size.
static __always_inline void script_zero(u64 to, u32 size)
{
    pt_probe_read_kernel((void *)to, size, 0);
}

static __always_inline void script_copy(u64 to, u32 size, u64 from)
{
    pt_probe_read_kernel((void *)to, size, (void *)from);
}

// Read a string of up to "room" bytes with its NUL, and clear the rest up to "size". Returns its length.
static __always_inline u32 script_read_string(u64 to, u32 room, u32 size, u64 address, enum pt_memory memory,
                                              u32 *bad)
{
    long length;

    script_zero(to, size);
    length = pt_spec_read_string((void *)to, room, address, memory);
    if (length <= 0) {
        *(u64 *)to = 0;
        *bad = 1;
        return 1;
    }
    return length < room ? length : room;
}

static __always_inline u32 script_read_bytes(u64 to, u32 count, u32 size, u64 address, enum pt_memory memory)
{
    *(u64 *)to = count;
    script_zero(to + 8, size);
    if (!pt_spec_read((void *)(to + 8), count, address, memory))
        return 0;
    *(u64 *)to = 0;
    return 1;
}

// Shorten bytes that were read to "length".
static __always_inline void script_shorten(u64 to, u32 count, u64 length)
{
    if (length < count && *(u64 *)to)
        *(u64 *)to = length;
}

// End a string after "length" bytes: str(address, length).
static __always_inline void script_cut(u64 to, u32 room, u64 length)
{
    if (length < room)
        *(u8 *)(to + length) = 0;
}

static __always_inline u64 script_length(u64 text, u32 room)
{
    u32 at;

    for (at = 0; at < room; at++)
        if (!*(u8 *)(text + at))
            break;
    return at;
}

// Return 1 if two strings are equal in their first "size" bytes. "prefix": the rest may differ.
static __always_inline s32 script_equal(u64 left, u64 right, u32 size, int prefix)
{
    u32 index;

    for (index = 0; index < size; index++) {
        u8 a = *(u8 *)(left + index), b = *(u8 *)(right + index);

        if (prefix) // a compiler that knows where the string ends reads a register that it has not set yet
            pt_opaque(a);
        if (a != b)
            return 0;
        if (!a)
            return 1;
    }
    return prefix;
}

// Return the position of a string in another; -1 if it does not occur.
static __always_inline s64 script_find(u64 text, u32 room, u64 part, u32 part_room)
{
    u32 at, inner;

    for (at = 0; at < room; at++) {
        for (inner = 0; inner < part_room; inner++) {
            u8 expected = *(u8 *)(part + inner);

            if (!expected)
                return at;
            if (at + inner >= room || *(u8 *)(text + at + inner) != expected)
                break;
        }
        if (!*(u8 *)(text + at))
            break;
    }
    return -1;
}

// Return the difference of the first bytes that differ.
static __always_inline s64 script_compare(u64 left, u64 right, u32 size)
{
    u32 index;

    for (index = 0; index < size; index++) {
        u8 a = *(u8 *)(left + index), b = *(u8 *)(right + index);

        if (a != b)
            return (s64)a - b;
    }
    return 0;
}

// An index of an array of "count" items: the first for one outside it. The verifier has to see the bound in the
// register that is added to an address.
static __always_inline u64 script_index(u64 index, u32 count)
{
    if (index >= count)
        index = 0;
    pt_opaque(index);
    return index;
}

// Whether two values of "size" bytes, a multiple of 8, are the same.
static __always_inline s32 script_same(u64 left, u64 right, u32 size)
{
    u32 index;

    for (index = 0; index < size; index += 8) {
        if (*(u64 *)(left + index) != *(u64 *)(right + index))
            return 0;
    }
    return 1;
}

// Whether two buffers are the same: the number of their bytes, then the bytes.
static __always_inline s32 script_same_bytes(u64 left, u64 right, u32 size)
{
    u64 length = *(u64 *)left;
    u32 index;

    if (length != *(u64 *)right)
        return 0;
    for (index = 0; index < size - 8; index++) {
        if (index < length && *(u8 *)(left + 8 + index) != *(u8 *)(right + 8 + index))
            return 0;
    }
    return 1;
}

static __always_inline s32 script_write_user(u64 address, u64 from, u32 size, u64 length)
{
    return length && length <= size && !script_probe_write_user((void *)address, (void *)from, length);
}

// Store 0, then the addresses of the kernel's stack.
static __always_inline void script_kernel_stack(void *ctx, u64 to, u32 size)
{
    *(u64 *)to = 0;
    script_zero(to + 8, size);
    script_get_stack(ctx, (void *)(to + 8), size, 0);
}

#ifdef PT_UNWIND
// Walk the stack of the current task by tables. The upper half of the first word says why the stack ends, if it has no
// more than there is room for. Returns -1 if frame pointers have to serve.
static __always_inline int script_unwind(u64 to, u32 size, u32 pid, int shows_python)
{
    u64 image = pt_current_image();
    struct pt_image *entry = images.lookup(&pid);
    struct pt_unwind_state *state;
    u64 length; // 64 bits, so that the verifier sees the bound in the register that is passed

    if (entry && entry->image == image) {
        __sync_fetch_and_add(&entry->samples, 1);
    } else if (image) {
        struct pt_image new_image = {.image = image, .samples = 1};

        images.update(&pid, &new_image);
    }
    state = pt_walk_stack(image, shows_python);
    if (!state)
        return -1;
    length = 8ULL * state->stack.count;
    if (length < size)
        *(u64 *)to |= (u64)state->stack.end << 32;
    pt_opaque(length);
    if (length > size)
        length = size;
    pt_probe_read_kernel((void *)(to + 8), length, state->stack.frames);
    pt_end_use(state);
    return 0;
}
#endif

// Store the process and the addresses of its stack. shows_python: they may be functions of Python.
static __always_inline void script_user_stack(void *ctx, u64 to, u32 size, int shows_python)
{
    u32 pid = script_pid_tgid() >> 32;

    *(u64 *)to = pid;
    script_zero(to + 8, size);
#ifdef PT_UNWIND
    if (!script_unwind(to, size, pid, shows_python))
        return;
#endif
    script_get_stack(ctx, (void *)(to + 8), size, BPF_F_USER_STACK);
}

// Return the address of a per-CPU symbol of the kernel for a CPU; 0 if there is no such CPU.
static __always_inline u64 script_percpu(u64 offsets, u64 symbol, u64 cpu, u32 cpus)
{
    u64 offset = 0;

    if (cpu >= cpus || pt_probe_read_kernel(&offset, sizeof(offset), (void *)(offsets + 8 * cpu)))
        return 0;
    return symbol + offset;
}

// The path of a struct path that is "offset" bytes behind the start of what argument "word" points to. The verifier
// has to see where the pointer comes from, so it is loaded as it is. Of a path that is too long the end is left.
#define script_path(ctx, word, offset, to, room, size)                                                       \
    ({                                                                                                       \
        u64 from_;                                                                                           \
        s64 result_;                                                                                         \
                                                                                                             \
        script_zero(to, size);                                                                               \
        asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(from_) : "r"(ctx), "i"(8 * (word)));                    \
        if (from_) {                                                                                         \
            asm volatile("%0 += %1" : "+r"(from_) : "i"(offset));                                            \
            result_ = script_d_path((void *)from_, (void *)(to), room);                                      \
            if (result_ == -36) /* ENAMETOOLONG */                                                           \
                pt_lost(PT_LOSS_TRUNCATED);                                                                  \
            else if (result_ < 0)                                                                            \
                *(u64 *)(to) = 0;                                                                            \
        }                                                                                                    \
    })

// Return the average from the total and the number of values.
static __always_inline u64 script_average(u64 *value, int is_signed)
{
    u64 total = value ? value[0] : 0, count = value ? value[1] : 0;

    if (!count)
        return 0;
    return is_signed && (s64)total < 0 ? -(-total / count) : total / count;
}

static __always_inline u64 script_depth(u64 stack, u32 depth)
{
    u32 at;

    for (at = 0; at < depth; at++)
        if (!*(u64 *)(stack + 8 + 8 * at))
            break;
    return at;
}

static __always_inline void script_inet(u64 to, u64 family, u64 address)
{
    script_zero(to, 24);
    *(u64 *)to = family;
    *(u64 *)(to + 8) = (u32)address;
}

static __always_inline void script_join(u64 to, u32 size, u64 array, enum pt_memory memory)
{
    u32 at, over = 0;

    for (at = 0; at < 16; at++) {
        u64 address = 0;

        script_zero(to + at * size, size);
        if (!over && !pt_spec_read(&address, sizeof(address), array + at * 8, memory) && address)
            pt_spec_read_string((void *)(to + at * size), size, address, memory);
        else
            over = 1;
    }
}

// Read "length" bytes of a packet from "offset" on, of those that are in one piece: the packet has "size" bytes, the last
// "paged" of which are elsewhere. Before them are the time and the size of the packet. Returns the size of all.
static __always_inline u64 script_packet(u64 to, u32 room, u64 data, u32 size, u32 paged, u64 length,
                                         u64 offset)
{
    u64 linear = size > paged ? size - paged : 0, count = linear > offset ? linear - offset : 0;

    if (count > length)
        count = length;
    pt_opaque(count);
    if (count > room)
        count = room;
    if (pt_probe_read_kernel((void *)(to + 24), count, (void *)(data + offset)))
        count = 0;
    *(u64 *)to = script_boot_ns();
    *(u64 *)(to + 8) = size > offset ? size - offset : 0;
    *(u64 *)(to + 16) = count;
    return 24 + count;
}

// "size" if any bit of "n" at or above it is set, else 0. No branch: the verifier follows each path of a loop.
static __always_inline u32 script_log2_step(u64 n, u32 size)
{
    u64 upper = n >> size, negative = -upper;

    pt_opaque(negative);
    return ((upper | negative) >> 63) * size;
}

// The bucket of a histogram: 0 for what is below 0, then each number below 2^bits, then 2^bits buckets for each power of
// two (bucket_bounds in src/pytracer/enrich/script_maps.py).
static __always_inline u64 script_log2(s64 value, u32 bits)
{
    u64 n = value, shift;
    u32 power;

    if (value < 0)
        return 0;
    if (n < 1ULL << bits)
        return n + 1;
    power = script_log2_step(n, 32);
    power += script_log2_step(n >> power, 16);
    power += script_log2_step(n >> power, 8);
    power += script_log2_step(n >> power, 4);
    power += script_log2_step(n >> power, 2);
    power += script_log2_step(n >> power, 1);
    shift = power - bits;
    return ((shift + 1) << bits) + ((n >> shift) - (1ULL << bits)) + 1;
}

// Write the head of an event: last, since a block in an argument may have sent another event meanwhile.
static __always_inline void script_head(struct event *event, u32 action, u32 program)
{
    event->ns = bpf_ktime_get_ns();
    event->action = action;
    event->program = program;
}

// The time since the epoch: the boot clock, and the difference as the run began.
static __always_inline u64 script_wall_ns(void)
{
    return script_boot_ns() + script_run_value(2);
}

static __always_inline u64 script_stack_argument(void *ctx, u32 n)
{
    struct pt_regs *regs = ctx;
    u64 value = 0;

#if defined(__x86_64__)
    pt_probe_read_kernel(&value, sizeof(value), (void *)(regs->sp + 8 * (n + 1)));
#endif
    return value;
}

static __always_inline u8 script_is_user(void *ctx)
{
#if defined(__x86_64__)
    return (*(volatile u64 *)(ctx + offsetof(struct pt_regs, cs)) & 3) == 3;
#else
    return 0;
#endif
}
