BPF_HASH(seen, u32, u64);

int count(struct __sk_buff *skb)
{
    u32 key = skb->ifindex;
    u64 *value = seen.lookup(&key);

    *value += 1;
    return 0;
}
