// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The datapath of podpace: its programs, which charge packets to the aggregates of pods.
 *
 *   podpace_classify      tc ingress of a host interface        writes the id on the packet
 *   podpace_depart        tc egress of an exit                  takes it, stamps the departure
 *   podpace_depart_upper  tc egress of an upper exit: tunnel,   the same, for the device below
 *                         VLAN, bond, team, bridge
 *   podpace_deliver       tc egress of a host interface         the same, for a sender on this node
 *   podpace_receive       tail call of podpace_deliver          charges the ingress aggregate
 *   podpace_forward       tc ingress of a host interface, last  host routing from a pod: routing.h
 *   podpace_arrive        tc ingress of an uplink, last         host routing to a pod: routing.h
 *   podpace_police        cgroup ingress of the root            polices what the node takes: node.h
 *
 * On a netkit podpace_classify and podpace_forward are at the pod's end (BPF_NETKIT_PEER) instead
 * of tc ingress.
 *
 * What must hold:
 *
 * - The fq qdisc behind the stamp holds the packet until its departure time.
 * - The id crosses routing, NAT and bridging in queue_mapping, which nothing else on the way reads
 *   or writes; no bit of skb->mark is used. It must be 0 again before the device selects a transmit
 *   queue, which happens after the egress hook.
 * - Fragments are new packets that do not inherit queue_mapping, and every device on the way with
 *   an egress of its own clears it. Then tc_index is left, which fragments inherit and devices
 *   leave alone, though other programs at a hook may overwrite it. Whoever charges a packet clears
 *   both.
 * - A program drops a packet, redirects it, or returns TC_ACT_UNSPEC (TCX_NEXT, NETKIT_NEXT), so
 *   that the other programs at the hook run. Those that redirect come last.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "aggregates.h"
#include "answers.h"
#include "books.h"
#include "charge.h"
#include "copies.h"
#include "departure.h"
#include "exemptions.h"
#include "frames.h"
#include "local.h"
#include "node.h"
#include "routing.h"
#include "signs.h"
#include "stamps.h"
#include "tunnels.h"

#define UPPER_EXIT_COUNT 4096

/* Aggregates of a host interface; 0: none. */
struct host_interface {
	__u32 egress_id;
	__u32 ingress_id;
};

/* What the devices below an upper exit add to each packet. */
struct upper_exit {
	__u32 frame_bytes; /* headers and trailers */
	__u16 align; /* packet and inner_bytes are padded to a multiple of this; 0: they are not */
	__u16 inner_bytes; /* added before the padding */
	__u32 mtu; /* which padding does not exceed */
	__u32 told; /* TOLD_*: what each packet's tunnel metadata adds: tunnels.h */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
	__uint(max_entries, AGGREGATE_COUNT);
	__type(key, __u32);
	__type(value, struct host_interface);
} host_interfaces SEC(".maps");

/* Upper exits that add something. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
	__uint(max_entries, UPPER_EXIT_COUNT);
	__type(key, __u32);
	__type(value, struct upper_exit);
} upper_exits SEC(".maps");

/* Where a program goes on in another. The helper fills it and repairs it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} continuations SEC(".maps");

#define CONTINUE_RECEIVE 0

/* What the departure step is told of a packet at an egress hook. */
static __always_inline struct departure_packet packet_of(const struct __sk_buff *skb)
{
	return (struct departure_packet){ .tstamp = skb->tstamp,
					  .wire_len = skb->wire_len,
					  .segments = skb->gso_segs };
}

/*
 * Writes the sign even when there is no aggregate: what the pod left in queue_mapping must not
 * choose one.
 *
 * Multicast and broadcast are charged here, once: the copies that a bridge makes for its ports take
 * the departure time along, and no exit finds a sign on them. What the node's kernel takes without
 * a socket is policed here: see local.h.
 */
SEC("tc")
int podpace_classify(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct host_interface *host_interface =
		bpf_map_lookup_elem(&host_interfaces, &ifindex);
	__u32 id = host_interface ? host_interface->egress_id : 0;
	struct departure_packet packet = { .tstamp = skb->tstamp, .segments = skb->gso_segs };
	__u64 departure_at = 0;
	__u32 frames, taker;

	if (!is_aggregate(id)) {
		write_sign(skb, 0);
		return TC_ACT_UNSPEC;
	}
	packet.wire_len = length_of_frames(skb);
	verifier_forget_range(packet.segments, packet.wire_len);
	frames = book_seen(id, &packet);
	/* Through a field of the packet: the verifier follows one path, not one for each reason. */
	WRITE_ONCE(skb->tc_classid, taker_of(skb));
	taker = READ_ONCE(skb->tc_classid);
	if (taker == SOCKET_OR_EXIT) {
		write_sign(skb, id);
		mark_monotonic(skb, number_of_frame(frames, packet.segments));
		return TC_ACT_UNSPEC;
	}
	packet.police_ns = (taker & KERNEL) * POLICED_NS;
	write_sign(skb, 0);
	book_settled(id, &packet);
	if (schedule_departure(skb, id, DESTINATION, NOT_NUMBERED, &packet, &departure_at) ==
	    TC_ACT_SHOT)
		return TC_ACT_SHOT;
	if (departure_at)
		hold_until(skb, departure_at);
	return TC_ACT_UNSPEC;
}

/* At an exit: a packet without a sign. It never had one, was charged already, or has lost it. */
static __always_inline void pass_unsigned(struct __sk_buff *skb)
{
	if (skb->ingress_ifindex) {
		if (skb->tc_index != CHARGED_ABOVE)
			book_unsigned(skb);
		pass_forwarded(skb);
	}
	convert_tai(skb);
}

SEC("tc")
int podpace_depart(struct __sk_buff *skb)
{
	struct departure_packet packet = packet_of(skb);
	__u64 departure_at = 0;
	__u32 id = take_sign(skb);

	if (!id) {
		pass_unsigned(skb);
		if (skb->tc_index == CHARGED_ABOVE)
			skb->tc_index = 0;
		return TC_ACT_UNSPEC;
	}
	book_settled(id, &packet);
	if (schedule_departure(skb, id, DESTINATION, NUMBERED, &packet, &departure_at) ==
	    TC_ACT_SHOT)
		return TC_ACT_SHOT;
	stamp_or_keep(skb, departure_at);
	return TC_ACT_UNSPEC;
}

/* What the devices below an upper exit add to a packet of so many segments. */
static __always_inline __u32 overhead_of(struct __sk_buff *skb, const struct upper_exit *exit,
					 __u32 wire_len, __u32 segments)
{
	__u32 length = wire_len / segments, inner, padded;

	inner = length + exit->inner_bytes;
	if (exit->told)
		inner += overhead_told(skb, exit->told);
	padded = inner;
	if (exit->align) {
		padded = (inner + exit->align - 1) / exit->align * exit->align;
		if (padded > exit->mtu)
			padded = inner > exit->mtu ? inner : exit->mtu;
	}
	return (exit->frame_bytes + padded - length) * segments;
}

/* Charges the frame that leaves the device below. The stamp has to reach the fq there. */
SEC("tc")
int podpace_depart_upper(struct __sk_buff *skb)
{
	struct departure_packet packet = packet_of(skb);
	__u32 ifindex = skb->ifindex, segments = packet.segments > 1 ? packet.segments : 1;
	__u64 departure_at = 0;
	__u32 id = take_sign(skb);
	const struct upper_exit *exit;

	if (!id) {
		pass_unsigned(skb);
		return TC_ACT_UNSPEC;
	}
	book_settled(id, &packet);
	exit = bpf_map_lookup_elem(&upper_exits, &ifindex);
	if (exit)
		packet.wire_len += overhead_of(skb, exit, packet.wire_len, segments);
	if (schedule_departure(skb, id, DESTINATION, NUMBERED, &packet, &departure_at) ==
	    TC_ACT_SHOT)
		return TC_ACT_SHOT;
	skb->tc_index = CHARGED_ABOVE;
	stamp_or_keep(skb, departure_at);
	return TC_ACT_UNSPEC;
}

/* The ingress aggregate of the pod behind a host interface; 0: none. */
static __always_inline __u32 receiving_aggregate(const struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct host_interface *host_interface =
		bpf_map_lookup_elem(&host_interfaces, &ifindex);

	return host_interface ? host_interface->ingress_id : 0;
}

/* Stamps the later of the sender's and the receiver's departure; 0: none of the receiver's. */
static __always_inline void stamp_arrival(struct __sk_buff *skb, __u64 arrives_at)
{
	__u64 left_at = skb->tstamp;

	if (arrives_at && departure_ahead(left_at, arrives_at) <= HORIZON_MAX_NS)
		arrives_at = departure_max(left_at, arrives_at);
	stamp_or_keep(skb, arrives_at);
}

/* What the node itself sends to a pod, perhaps in answer to it: see answers.h. */
static __always_inline void hold_answer(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct host_interface *host_interface =
		bpf_map_lookup_elem(&host_interfaces, &ifindex);
	__u64 until;

	if (!host_interface || !host_interface->egress_id)
		return;
	until = answer_waits_until(skb, host_interface->egress_id);
	if (until)
		stamp_arrival(skb, until);
}

/*
 * What podpace_receive does, by the clock alone: for the seconds until the helper has put that
 * program back into `continuations`, if somebody has removed it. The state's clock is kept in step,
 * so that the change gains nobody a queue, either way.
 */
static __always_inline int receive_by_clock(struct __sk_buff *skb, __u64 *arrives_at)
{
	struct departure_packet packet = { .wire_len = skb->wire_len, .segments = skb->gso_segs };
	__u32 id = receiving_aggregate(skb), index = id - AGGREGATE_ID_MIN;
	const struct aggregate_config *config = bpf_map_lookup_elem(&aggregate_config, &index);
	struct aggregate_gate *gate = bpf_map_lookup_elem(&aggregate_gates, &index);
	struct aggregate_state *state;
	struct charged charged;
	__u64 t_last;

	if (!config || !gate || !READ_ONCE(config->rate_bytes_per_sec))
		return TC_ACT_UNSPEC;
	if (book_if_exempt(skb, id, SOURCE, config, &packet))
		return TC_ACT_UNSPEC;
	state = in_page(&aggregate_state, index);
	packet.now = bpf_ktime_get_ns();

	bpf_spin_lock(&gate->lock);
	if (state)
		gate->clock = departure_max(gate->clock, state->departures.t_last);
	t_last = gate->clock;
	charged.departure = departure_without_state(config, &gate->clock, &packet);
	charged.throttled_ns = departure_throttled(t_last, gate->clock,
						   READ_ONCE(config->idle_credit_ns), packet.now);
	if (state) {
		state->departures.t_last = gate->clock;
		state->departures.t_last_copy = gate->clock;
	}
	bpf_spin_unlock(&gate->lock);

	if (count_and_drop(id, &charged, &packet))
		return TC_ACT_SHOT;
	*arrives_at = packet.now + charged.departure.sojourn;
	return TC_ACT_UNSPEC;
}

/*
 * Into a pod: the egress aggregate of a sender on this node, if it has one, then the ingress
 * aggregate of the pod. The later departure wins. The clocks do not see each other, so a sender
 * that queues for long leaves no gap in the receiver's link; for the same reason a time requested
 * by the sender's socket only delays.
 *
 * Two programs, because two departure steps in one are too much for the verifier of Linux 6.1.
 */
SEC("tc")
int podpace_deliver(struct __sk_buff *skb)
{
	struct departure_packet packet = packet_of(skb);
	__u64 left_at = 0, arrives_at = 0;
	__u32 id = take_sign(skb);

	if (id) {
		book_settled(id, &packet);
		if (schedule_departure(skb, id, DESTINATION, NUMBERED, &packet, &left_at) ==
		    TC_ACT_SHOT)
			return TC_ACT_SHOT;
		if (left_at)
			hold_until(skb, left_at);
	} else if (!skb->ingress_ifindex) {
		hold_answer(skb);
	} else {
		book_unsigned(skb);
		pass_forwarded(skb);
	}
	bpf_tail_call(skb, &continuations, CONTINUE_RECEIVE);
	if (receive_by_clock(skb, &arrives_at) == TC_ACT_SHOT)
		return TC_ACT_SHOT;
	stamp_arrival(skb, arrives_at);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int podpace_receive(struct __sk_buff *skb)
{
	struct departure_packet packet = { .wire_len = skb->wire_len,
					   .segments = skb->gso_segs,
					   .is_merged = 1 };
	__u32 id = receiving_aggregate(skb);
	__u64 arrives_at = 0;

	if (id &&
	    schedule_departure(skb, id, SOURCE, NOT_NUMBERED, &packet, &arrives_at) == TC_ACT_SHOT)
		return TC_ACT_SHOT;
	stamp_arrival(skb, arrives_at);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int podpace_forward(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct routed_pod *pod = bpf_map_lookup_elem(&routed_pods, &ifindex);

	if (!pod || !is_routable(skb))
		return TC_ACT_UNSPEC;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return forward_ipv4(skb, pod);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return forward_ipv6(skb, pod);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int podpace_arrive(struct __sk_buff *skb)
{
	if (!is_routable(skb))
		return TC_ACT_UNSPEC;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return arrive_ipv4(skb);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return arrive_ipv6(skb);
	return TC_ACT_UNSPEC;
}

char podpace_license[] SEC("license") = "Dual BSD/GPL";
