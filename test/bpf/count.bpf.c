// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Counts what each pod puts on the wire: attached at tc ingress of the peer's device, keyed by
 * source address and by time since that pod's first data frame.
 *
 * The program keeps the time itself, so the figures do not depend on when a user space reader gets
 * the CPU. A packet that the sender's stack left whole for the device to segment (GSO) counts as
 * the frames that a real wire would carry: its headers once per segment. Frame check sequence,
 * preamble and gap do not count.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define INTERVAL_NS 10000000ULL /* test/bed/series.ts: COUNTED_INTERVAL_MS */

/*
 * A load starts with its first full frame: connection set-up and iperf3's control messages are
 * shorter.
 */
#define FIRST_DATA_FRAME_BYTES 1400

struct interval {
	__be32 source;
	__u32 number; /* of the interval, 0 from the first data frame on */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __be32);
	__type(value, __u64); /* bpf_ktime_get_ns() of the first data frame */
} first_frame SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct interval);
	__type(value, __u64); /* bytes on the wire */
} wire_bytes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct interval);
	__type(value, __u64); /* bytes of payload in those frames */
} payload_bytes SEC(".maps");

/* Adds to an interval, making it when this is its first frame; any CPU may be first. */
static __always_inline void add(void *map, const struct interval *key, __u64 bytes)
{
	__u64 *total = bpf_map_lookup_elem(map, key);
	__u64 zero = 0;

	if (!total) {
		bpf_map_update_elem(map, key, &zero, BPF_NOEXIST);
		total = bpf_map_lookup_elem(map, key);
		if (!total)
			return;
	}
	__sync_fetch_and_add(total, bytes);
}

SEC("tc")
int count(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	__u32 header_bytes = sizeof(*eth), segments = skb->gso_segs ? skb->gso_segs : 1;
	struct interval key = {};
	__u64 now, bytes, *first;

	if ((void *)(ip + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_UNSPEC;
	header_bytes += ip->ihl * 4;
	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = (void *)ip + sizeof(*ip);

		if (ip->ihl != 5 || (void *)(tcp + 1) > data_end)
			return TC_ACT_UNSPEC;
		header_bytes += tcp->doff * 4;
	} else if (ip->protocol == IPPROTO_UDP) {
		header_bytes += sizeof(struct udphdr);
	}
	bytes = skb->len + (__u64)(segments - 1) * header_bytes;

	now = bpf_ktime_get_ns();
	key.source = ip->saddr;
	first = bpf_map_lookup_elem(&first_frame, &key.source);
	if (!first) {
		if (bytes < FIRST_DATA_FRAME_BYTES)
			return TC_ACT_UNSPEC;
		bpf_map_update_elem(&first_frame, &key.source, &now, BPF_NOEXIST);
		first = bpf_map_lookup_elem(&first_frame, &key.source);
		if (!first)
			return TC_ACT_UNSPEC;
	}
	/* Another CPU's first frame may be a moment younger than this one. */
	key.number = now > *first ? (now - *first) / INTERVAL_NS : 0;
	add(&wire_bytes, &key, bytes);
	add(&payload_bytes, &key, bytes - (__u64)segments * header_bytes);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
