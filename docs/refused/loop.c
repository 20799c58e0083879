BPF_HASH(seen, u32, u64);

int count(struct __sk_buff *skb)
{
    u32 key = 0;
    u64 one = 1;

    while (bpf_get_prandom_u32() != 7) {
        key++;
        seen.update(&key, &one);
    }
    return 0;
}
