// Programs that no verifier takes, one for each thing that it may have against them (tests/kernel/test_explain.py).
BPF_HASH(seen, u32, u64);
BPF_RINGBUF_OUTPUT(ring, 1);

struct text {
    char letters[16];
};
BPF_ARRAY(texts, struct text, 1);

int may_be_null(struct __sk_buff *skb)
{
    u32 key = skb->ifindex;
    u64 *value = seen.lookup(&key);

    *value += 1;
    return 0;
}

int has_no_end(struct __sk_buff *skb)
{
    while (bpf_get_prandom_u32() != 7)
        ;
    return 0;
}

int is_a_number(struct __sk_buff *skb)
{
    u64 address = bpf_ktime_get_ns();
    u64 value;

    asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(value) : "r"(address));
    return value;
}

int may_be_outside(struct __sk_buff *skb)
{
    int key = 0;
    struct text *text = texts.lookup(&key);

    if (!text)
        return 0;
    return text->letters[skb->len];
}

int has_no_packet(struct xdp_md *frame)
{
    void *data = (void *)(long)frame->data;
    u64 value;

    asm volatile("%0 = *(u8 *)(%1 + 12)" : "=r"(value) : "r"(data));
    return value ? XDP_PASS : XDP_DROP;
}

int has_no_such_helper(struct __sk_buff *skb)
{
    return bpf_redirect(1, 0);
}

int keeps_it(struct __sk_buff *skb)
{
    u64 *room = ring.ringbuf_reserve(sizeof(*room));

    if (room)
        *room = 1;
    return 0;
}

int multiplies(struct __sk_buff *skb)
{
    u64 value = (u64)skb;

    asm volatile("%0 *= 3" : "+r"(value));
    return value;
}

int reads_beyond(struct __sk_buff *skb)
{
    u64 value;

    asm volatile("%0 = *(u64 *)(%1 + 4000)" : "=r"(value) : "r"(skb));
    return value;
}

int is_fine(struct __sk_buff *skb)
{
    return 0;
}
