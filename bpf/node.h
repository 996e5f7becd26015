/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a pod sends to the node itself. It meets no exit, and is known to be the node's only when a
 * socket takes it, behind routing, NAT and TPROXY, where nothing can hold it. So a packet gets its
 * departure time as at an exit but is delivered at once, and is dropped when its flow is too far
 * ahead of its share: policed by the clock that holds the rest. Sparse flows have their lane here
 * too.
 *
 * TCP that is only policed sends in bursts, a timeout apart: its round trip takes microseconds, and
 * no window is small enough. So the answer to a packet (its acknowledgement) is held at the pod's
 * host interface until the packet would have departed: see answers.h. The round trip then has the
 * queue, as if the packet itself had waited.
 */
#ifndef PODPACE_NODE_H
#define PODPACE_NODE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "aggregates.h"
#include "answers.h"
#include "books.h"
#include "charge.h"
#include "departure.h"
#include "exemptions.h"
#include "frames.h"

/*
 * How far a flow may be ahead of its share when a socket takes its packet. With the credits it is
 * less than 1 % of a second, so no second has more than 101 % of the cap.
 */
#define POLICED_NS 7000000U

#define NODE_DROP 0
#define NODE_TAKE 1

/* FNV-1a, a word at a time: it only has to tell flows apart. */
#define FNV_BASIS 0x811c9dc5
#define FNV_PRIME 0x01000193

/* How the node's namespace is told from others: every socket of the machine runs the program. */
struct node_place {
	__u64 netns_cookie; /* 0: unknown, nothing is charged */
	__u32 netns_offset; /* of the namespace in struct sock of this kernel */
	__u32 cookie_offset; /* of the cookie in struct net */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct node_place);
} node_place SEC(".maps");

/*
 * Whether the socket is the node's. Whoever may set up tc in a pod can write a sign on what comes
 * into it, and several nodes may share a machine. Linux 6.15 has bpf_get_netns_cookie() here.
 */
static __always_inline int is_of_node(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	__u64 address = 0, netns = 0, cookie = 0;
	const struct node_place *place;
	__u32 key = 0;

	place = bpf_map_lookup_elem(&node_place, &key);
	if (!sk || !place || !place->netns_cookie)
		return 0;
	/* As a number: the verifier allows no arithmetic on the address of a socket. */
	bpf_probe_read_kernel(&address, sizeof(address), &sk);
	bpf_probe_read_kernel(&netns, sizeof(netns), (void *)(address + place->netns_offset));
	bpf_probe_read_kernel(&cookie, sizeof(cookie), (void *)(netns + place->cookie_offset));
	return cookie == place->netns_cookie;
}

/* Bytes of the frames that a packet at a socket was. A reassembled one counts as one frame. */
static __always_inline __u32 length_at_socket(struct __sk_buff *skb)
{
	return length_of_frames(skb) + ETH_HLEN;
}

/* The packet's hash, or one of addresses and ports: no helper computes one at this hook. */
static __always_inline __u32 flow_at_socket(struct __sk_buff *skb)
{
	__u32 words[9] = { 0 }, hash = skb->hash, is_ipv4 = skb->protocol == bpf_htons(ETH_P_IP),
	      at;

	if (hash)
		return hash;
	if (is_ipv4) {
		load_net_bytes(skb, offsetof(struct iphdr, saddr), words, 12);
	} else {
		load_net_bytes(skb, offsetof(struct ipv6hdr, saddr), words, sizeof(words));
	}
	hash = FNV_BASIS;
	for (at = 0; at < 9; at++)
		hash = (hash ^ words[at]) * FNV_PRIME;
	return hash ^ hash >> 16;
}

/* Charges a packet to its aggregate. Returns whether the node may have it. */
static __always_inline int police(struct __sk_buff *skb, __u32 id)
{
	struct departure_packet packet = { .wire_len = length_at_socket(skb),
					   .segments = skb->gso_segs };
	const struct aggregate_config *config;
	struct aggregate_state *state;
	struct aggregate_gate *gate;
	struct charged charged;
	__u32 index = id - AGGREGATE_ID_MIN;

	config = bpf_map_lookup_elem(&aggregate_config, &index);
	gate = bpf_map_lookup_elem(&aggregate_gates, &index);
	if (!config || !gate)
		return NODE_TAKE;
	book_settled(id, &packet);
	if (book_if_exempt(skb, id, DESTINATION, config, &packet))
		return NODE_TAKE;
	state = in_page(&aggregate_state, index);
	if (!READ_ONCE(config->rate_bytes_per_sec) &&
	    !(state && READ_ONCE(state->departures.config.rate_bytes_per_sec)))
		return NODE_TAKE;

	packet.police_ns = POLICED_NS;
	packet.flow_hash = flow_at_socket(skb);
	packet.now = bpf_ktime_get_ns();
	packet.ecn_capable = is_ecn_capable(skb);

	charged = charge(config, gate, state, &packet);
	if (count_and_drop(id, &charged, &packet))
		return NODE_DROP;
	if (charged.departure.verdict == DEPART_MARKED)
		bpf_skb_ecn_set_ce(skb);
	if (charged.departure.sojourn)
		note_answer(skb, id, packet.now + charged.departure.sojourn);
	return NODE_TAKE;
}

/*
 * What any socket of the machine takes. What was charged has no sign any more, so a sign means that
 * the packet met no exit. It stays, since nothing can be written at this hook: a packet that a
 * socket has taken goes nowhere else.
 */
SEC("cgroup_skb/ingress")
int podpace_police(struct __sk_buff *skb)
{
	__u32 id = skb->queue_mapping;

	if (!is_aggregate(id)) {
		id = skb->tc_index;
		if (!is_aggregate(id))
			return NODE_TAKE;
	}
	return is_of_node(skb) ? police(skb, id) : NODE_TAKE;
}

#endif
