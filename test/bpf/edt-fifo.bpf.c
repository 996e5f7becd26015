// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The plain departure step, as it is in wide use, for comparison: one clock per aggregate, read and
 * written without atomics. A packet waits for itself too, and nothing is dropped before the clock
 * is two seconds ahead. The clock makes one FIFO of all flows of a pod.
 *
 *   plain_classify  tc ingress of a host interface  the interface's index is the aggregate id
 *   plain_depart    tc egress of the uplink         stamps; fq, at its defaults, holds the packet
 *
 * State is a hash looked up by id, as the field has it: test/bench/edt-fifo.ts fills it.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "../../bpf/compiler.h"

#define PLAIN_HORIZON_NS 2000000000ULL
#define NS_PER_SEC 1000000000ULL

struct plain_aggregate {
	__u64 rate_bytes_per_sec;
	__u64 t_last; /* monotonic ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct plain_aggregate);
} plain_aggregates SEC(".maps");

SEC("tc")
int plain_classify(struct __sk_buff *skb)
{
	skb->queue_mapping = skb->ifindex;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int plain_depart(struct __sk_buff *skb)
{
	__u32 id = skb->queue_mapping;
	struct plain_aggregate *aggregate;
	__u64 now, t, next;

	if (!id)
		return TC_ACT_UNSPEC;
	skb->queue_mapping = 0;
	aggregate = bpf_map_lookup_elem(&plain_aggregates, &id);
	if (!aggregate || !aggregate->rate_bytes_per_sec)
		return TC_ACT_UNSPEC;

	now = bpf_ktime_get_ns();
	t = skb->tstamp > now ? skb->tstamp : now;
	next = READ_ONCE(aggregate->t_last) +
	       skb->wire_len * NS_PER_SEC / aggregate->rate_bytes_per_sec;
	if (next <= t) {
		WRITE_ONCE(aggregate->t_last, t);
		return TC_ACT_UNSPEC;
	}
	if (next - now >= PLAIN_HORIZON_NS)
		return TC_ACT_SHOT;
	WRITE_ONCE(aggregate->t_last, next);
	skb->tstamp = next;
	return TC_ACT_UNSPEC;
}

/* What a test run costs without any step: test/bench/cost.ts subtracts it. */
SEC("tc")
int plain_nothing(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_UNSPEC;
}

char plain_license[] SEC("license") = "Dual BSD/GPL";
