// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The datapath of podpace: tc programs and the maps they share.
 *
 * podpace_classify	tc ingress of a host interface	writes the aggregate id to skb->queue_mapping and skb->tc_index
 * podpace_depart	tc egress of an exit		reads the id, sets it back to 0, stamps the departure time
 * podpace_depart_upper	the same, of an exit that hands packets on to other devices: tunnel, VLAN, bond, bridge
 * podpace_deliver	tc egress of a host interface	the same for a sender on this node, and goes on to
 * podpace_receive						the ingress aggregate of the pod
 * podpace_forward	tc ingress of a host interface, last	host routing out of a pod, and
 * podpace_arrive	tc ingress of an uplink, last		into it: see routing.h
 * podpace_police	cgroup ingress of the root		what a pod sends to the node itself: see node.h
 *
 * On a netkit the first and the sixth stand at the pod's end instead of tc ingress (BPF_NETKIT_PEER).
 *
 * The fq qdisc behind the stamp holds the packet until then. The id crosses routing, NAT and bridging in
 * queue_mapping, which nothing else on that way reads or writes, and which needs no bit of skb->mark. It must be 0
 * again before the device picks its transmit queue: that happens after the egress hook. Fragments are new packets, which
 * do not inherit it, and each device on the way that has an egress of its own clears it. What is left then is tc_index, which
 * fragments inherit and devices leave alone; other programs at a hook may overwrite it. Whoever charges a packet takes both.
 *
 * All return TC_ACT_UNSPEC (TCX_NEXT, NETKIT_NEXT) so that other programs at the hook run, or drop. Those that redirect come
 * after all others.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>

#include "departure.h"
#include "exemptions.h"
#include "helpers.h"
#include "routing.h"
#include "answers.h"

/* Ids lie above any receive queue that a NIC's driver may have recorded in queue_mapping. */
#define AGGREGATE_ID_MIN 4096
#define AGGREGATE_COUNT 16384
#define PAGE_LENGTH 64 /* aggregates whose state stands in one map */

#define UPPER_EXIT_COUNT 4096

#define WALL_CLOCK_MIN (1ULL << 60) /* ns: July 2006 by a wall clock, 36 years after boot by the monotonic one */

#define TIME_THAT_IS_OVER 1 /* ns by the monotonic clock */

#define SOJOURN_BUCKETS 16
#define SOJOURN_SHIFT 16 /* the first bucket ends at 2^16 ns */

/* Aggregates of a host interface; 0 is none. */
struct host_interface {
	__u32 egress_id;
	__u32 ingress_id;
};

/* What leaves below an upper device for each packet that passes it. */
struct upper_exit {
	__u32 frame_bytes; /* headers and trailers that are added */
	__u32 align; /* a packet is padded to a multiple of this, 0: it is not, */
	__u32 mtu; /* but not beyond this */
	__u32 reserved;
};

/* What has to be there for each aggregate, come what may. */
struct aggregate_gate {
	struct bpf_spin_lock lock; /* of the aggregate's state too */
	__u32 reserved;
	__u64 clock; /* while the aggregate has no state */
};

struct aggregate_state {
	struct departure_state departures;
	struct departure latest; /* what the latest packet was told */
	__u64 latest_at; /* and when; monotonic ns */
};

/* Of one CPU. */
struct aggregate_counters {
	__u64 packets; /* that departed or will */
	__u64 bytes; /* wire length of these */
	__u64 delayed;
	__u64 sparse; /* departed before their slot */
	__u64 ce_marked;
	__u64 dropped_horizon;
	__u64 dropped_aqm;
	__u64 dropped_flow;
	__u64 repaired;
	__u64 reserved;
	__u64 sojourn[SOJOURN_BUCKETS]; /* packets by departure - now: below 2^16 ns, 2^17 ns, ... */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AGGREGATE_COUNT);
	__type(key, __u32);
	__type(value, struct aggregate_config);
} aggregate_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AGGREGATE_COUNT);
	__type(key, __u32);
	__type(value, struct aggregate_gate);
} aggregate_gates SEC(".maps");

/*
 * State and counters stand in pages that the helper makes: memory follows the number of pods, and both are found by
 * index alone. Two lookups in a hash would take a quarter of the time of the whole. (Sizes, because clang tells nothing
 * of types that are behind two pointers.)
 */
struct state_page {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PAGE_LENGTH);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct aggregate_state));
};

struct counter_page {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PAGE_LENGTH);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct aggregate_counters));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, AGGREGATE_COUNT / PAGE_LENGTH);
	__type(key, __u32);
	__type(value, __u32);
	__array(values, struct state_page);
} aggregate_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, AGGREGATE_COUNT / PAGE_LENGTH);
	__type(key, __u32);
	__type(value, __u32);
	__array(values, struct counter_page);
} aggregate_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, ENTRIES_OF_THE_HELPER);
	__uint(max_entries, AGGREGATE_COUNT);
	__type(key, __u32);
	__type(value, struct host_interface);
} host_interfaces SEC(".maps");

/* Those that add something. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, ENTRIES_OF_THE_HELPER);
	__uint(max_entries, UPPER_EXIT_COUNT);
	__type(key, __u32);
	__type(value, struct upper_exit);
} upper_exits SEC(".maps");

/* Where one program goes on in another; the helper fills it, and looks after it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} continuations SEC(".maps");

#define CONTINUE_RECEIVE 0

/* The value of an aggregate in its page; NULL when somebody has taken the page away. */
inline_always void *in_page(void *pages, __u32 index)
{
	__u32 number = index / PAGE_LENGTH, slot = index % PAGE_LENGTH;
	void *page = bpf_map_lookup_elem(pages, &number);

	return page ? bpf_map_lookup_elem(page, &slot) : 0;
}

#include "books.h"

/* Whether the packet may be marked CE instead of dropped: ECT(0), ECT(1) or CE in the IPv4 or IPv6 header. */
inline_always __u32 is_ecn_capable(struct __sk_buff *skb)
{
	__u8 second;

	if (bpf_skb_load_bytes_relative(skb, 1, &second, sizeof(second), BPF_HDR_START_NET))
		return 0;
	if (skb->protocol == ETHER_TYPE_IPV4)
		return second & 3;
	if (skb->protocol == ETHER_TYPE_IPV6)
		return second >> 4 & 3;
	return 0;
}

/* Which bucket: how many bits a sojourn has beyond the first bucket's. */
inline_always __u32 sojourn_bucket(__u64 sojourn_ns)
{
	__u32 scaled = sojourn_ns >> SOJOURN_SHIFT;
	__u32 bucket = 0;

	if (scaled >= 1U << (SOJOURN_BUCKETS - 1))
		return SOJOURN_BUCKETS - 1;
	if (scaled >> 8) {
		bucket += 8;
		scaled >>= 8;
	}
	if (scaled >> 4) {
		bucket += 4;
		scaled >>= 4;
	}
	if (scaled >> 2) {
		bucket += 2;
		scaled >>= 2;
	}
	return bucket + (scaled > 1 ? 2 : scaled);
}

inline_always void count(struct aggregate_counters *counters, const struct departure *departure, __u32 wire_len)
{
	if (departure->repaired)
		counters->repaired += departure->repaired;
	if (departure->verdict == DROP_HORIZON) {
		counters->dropped_horizon++;
	} else if (departure->verdict == DROP_AQM) {
		counters->dropped_aqm++;
	} else if (departure->verdict == DROP_FLOW) {
		counters->dropped_flow++;
	} else {
		counters->packets++;
		counters->bytes += wire_len;
		counters->delayed += departure->sojourn > 0;
		counters->sparse += departure->verdict == DEPART_SPARSE;
		counters->ce_marked += departure->verdict == DEPART_MARKED;
		counters->sojourn[sojourn_bucket(departure->sojourn) & (SOJOURN_BUCKETS - 1)]++;
	}
}

/* An id of ours; anything else in queue_mapping is somebody's receive queue. */
inline_always int is_aggregate(__u32 id)
{
	return id - AGGREGATE_ID_MIN < AGGREGATE_COUNT;
}

/*
 * Writes the sign of an aggregate, or of none, on a packet. Since Linux 6.6 a program behind this one that ends the hook with
 * TCX_PASS has tc_classid written to tc_index.
 */
inline_always void write_sign(struct __sk_buff *skb, __u32 id)
{
	skb->queue_mapping = id;
	skb->tc_index = id;
	skb->tc_classid = id;
}

/* Takes the sign off a packet, so that it is charged once. Returns the aggregate, or 0 for a packet of nobody's. */
inline_always __u32 take_sign(struct __sk_buff *skb)
{
	__u32 id = skb->queue_mapping;

	if (is_aggregate(id)) {
		skb->queue_mapping = 0;
	} else {
		id = skb->tc_index;
		if (!is_aggregate(id))
			return 0;
	}
	skb->tc_index = 0;
	skb->tc_classid = 0;
	return id;
}

/*
 * Stamps a packet that was charged, also when it departs at once: what stands there may be the time at which its socket
 * sent it, and fq, which is late now and then, would let it overtake packets of its flow that were due since.
 *
 * Time and clock are set together. A plain write leaves the clock as it was: since Linux 7 fq then warns of packets that
 * have none, and converts the time where a socket asked for CLOCK_TAI (SO_TXTIME). Before, a time without a clock is
 * cleared by bridges, for example, which take it for a receive timestamp. What left the pod as IP has its clock from TCP or
 * from say_clock(), whatever it is by now. Of other frames the kernel takes none, so they get no time: they are charged, and
 * dropped at the horizon, but do not wait.
 */
inline_always void stamp(struct __sk_buff *skb, __u64 departure_at)
{
	/* Or else clang computes the address of the field, and the verifier takes none that was computed. */
	departure_keep_order(skb);
	if (skb->tstamp_type == BPF_SKB_TSTAMP_DELIVERY_MONO)
		skb->tstamp = departure_at;
	else
		bpf_skb_set_tstamp(skb, departure_at, BPF_SKB_TSTAMP_DELIVERY_MONO);
}

/*
 * Says that the time of a packet is one of the monotonic clock, while the kernel takes that of it: at its exit it may be no IP
 * any more (MPLS). The time itself is over, which is none to fq and to the departure step. A time that a socket asked for stays.
 */
inline_always void say_clock(struct __sk_buff *skb)
{
	departure_keep_order(skb);
	if (!skb->tstamp_type)
		bpf_skb_set_tstamp(skb, TIME_THAT_IS_OVER, BPF_SKB_TSTAMP_DELIVERY_MONO);
}

/*
 * Stamps a packet that a cap holds, and has fq look at the stamp: what is of the priority TC_PRIO_CONTROL it sends at once
 * (q->internal in net/sched/sch_fq.c). Whoever says so of a pod's packets on the node (nft meta priority, skbedit) would take
 * its cap away. The next lower priority waits, and is in the same band where fq has them, since Linux 6.7. The upper bits, a
 * class, stay.
 */
inline_always void hold_until(struct __sk_buff *skb, __u64 departure_at)
{
	if ((skb->priority & TC_PRIO_MAX) == TC_PRIO_CONTROL)
		skb->priority ^= TC_PRIO_CONTROL ^ TC_PRIO_INTERACTIVE;
	stamp(skb, departure_at);
}

/*
 * A packet that no cap holds keeps the time that its socket asked for (SO_TXTIME), but meets our fq. Where that time is
 * one of CLOCK_TAI, fq of Linux 6.18 and older takes it for a monotonic one, 50 years ahead, and drops the packet; the
 * qdisc before would have sent it. So it is said in the clock that every fq reads, which fq does itself since Linux 7.
 * It is known by its value: on Linux 6.1 a packet does not tell its clock.
 */
inline_always void say_monotonic(struct __sk_buff *skb)
{
	__u64 asked_at = skb->tstamp;

	if (asked_at >= WALL_CLOCK_MIN)
		stamp(skb, bpf_ktime_get_ns() + departure_ahead(asked_at, bpf_ktime_get_tai_ns()));
}

/* 0 is none. */
inline_always void stamp_or_keep(struct __sk_buff *skb, __u64 departure_at)
{
	if (departure_at)
		hold_until(skb, departure_at);
	else
		say_monotonic(skb);
}

/*
 * The call costs as much as that of a stamp. What a pod sends has its hash by now, from its socket or from whoever chose a
 * queue on the way. What comes to it may have a network card's, of the addresses alone, which makes one flow of all between
 * two hosts: the call knows that and computes another.
 */
inline_always __u32 flow_hash(struct __sk_buff *skb, enum far_end far)
{
	return (far == DESTINATION ? skb->hash : 0) ?: bpf_get_hash_recalc(skb);
}

/*
 * Charges a packet to an aggregate. *departure_at becomes its departure time, or stays as it is when the aggregate is
 * not in use or the packet's far end is exempt. Returns TC_ACT_SHOT for a packet that must be dropped.
 */
inline_always int schedule_departure(struct __sk_buff *skb, __u32 id, enum far_end far,
				     const struct departure_packet *asked, __u64 *departure_at)
{
	const struct aggregate_config *config;
	struct departure_packet packet = *asked;
	struct departure departure;
	struct aggregate_gate *gate;
	struct aggregate_state *state;
	struct aggregate_counters *counters;
	__u32 index = id - AGGREGATE_ID_MIN, lists;

	config = bpf_map_lookup_elem(&aggregate_config, &index);
	gate = bpf_map_lookup_elem(&aggregate_gates, &index);
	if (!config || !gate)
		return TC_ACT_UNSPEC;
	lists = read_once(config->exemptions);
	if (lists && is_exempt(skb, id, lists, far)) {
		book_exempt(id, packet.segments, packet.wire_len);
		return TC_ACT_UNSPEC;
	}
	state = in_page(&aggregate_state, index);
	if (!read_once(config->rate_bytes_per_sec) &&
	    !(state && read_once(state->departures.config.rate_bytes_per_sec)))
		return TC_ACT_UNSPEC;

	packet.flow_hash = flow_hash(skb, far);
	packet.now = bpf_ktime_get_ns();
	/* Below the target nothing is marked; that another CPU makes more backlog just now costs one mark. */
	if (state &&
	    departure_ahead(read_once(state->departures.t_last), packet.now) >= read_once(config->target_ns))
		packet.ecn_capable = is_ecn_capable(skb);

	bpf_spin_lock(&gate->lock);
	if (state) {
		state->latest = departure_schedule(config, &state->departures, &packet);
		state->latest_at = packet.now;
		departure_forget_paths();
		departure = state->latest;
	} else {
		departure = departure_without_state(config, &gate->clock, &packet);
	}
	bpf_spin_unlock(&gate->lock);

	/* Not before: the verifier would follow the step once with them and once without. */
	counters = in_page(&aggregate_counters, index);
	if (counters)
		count(counters, &departure, packet.wire_len);
	if (departure.verdict > DEPART_MARKED) {
		book_dropped(id, packet.segments, packet.wire_len);
		return TC_ACT_SHOT;
	}
	if (departure.verdict == DEPART_MARKED)
		bpf_skb_ecn_set_ce(skb);
	*departure_at = packet.now + departure.sojourn;
	return TC_ACT_UNSPEC;
}

/* Bytes of the network header and what stands behind it, which each segment of a merged packet has. */
inline_always __u32 length_of_headers(struct __sk_buff *skb)
{
	__u32 network_header = IPV6_HEADER;
	__u8 first[10], data_offset = 0, protocol;

	if (bpf_skb_load_bytes_relative(skb, 0, first, sizeof(first), BPF_HDR_START_NET))
		return 0;
	protocol = first[6];
	if (skb->protocol == ETHER_TYPE_IPV4) {
		network_header = (first[0] & 15) * 4;
		protocol = first[9];
	}
	if (protocol != IPPROTO_TCP)
		return network_header + UDP_HEADER;
	bpf_skb_load_bytes_relative(skb, network_header + 12, &data_offset, 1, BPF_HDR_START_NET);
	return network_header + (data_offset >> 4) * 4;
}

/* Bytes of the frames of a packet, before any hook has counted them: of a merged one with the headers of each segment. */
inline_always __u32 length_of_frames(struct __sk_buff *skb)
{
	__u32 segments = skb->gso_segs;

	if (segments < 2)
		return skb->len;
	return skb->len + (segments - 1) * (ETHER_HEADER + length_of_headers(skb));
}

/*
 * Writes the id even when it is none: what the pod left in queue_mapping must not choose an aggregate.
 *
 * Bridges make a copy for each of their ports of what goes to many. It is charged here, once, and has its departure time with
 * it: so have the copies, and no exit finds a sign on them.
 */
SEC("tc")
int podpace_classify(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct host_interface *host_interface = bpf_map_lookup_elem(&host_interfaces, &ifindex);
	__u32 id = host_interface ? host_interface->egress_id : 0;
	struct departure_packet packet = { .tstamp = skb->tstamp, .segments = skb->gso_segs };
	__u64 departure_at = 0;

	if (is_aggregate(id)) {
		packet.wire_len = length_of_frames(skb);
		book_seen(id, packet.segments, packet.wire_len);
	}
	if (skb->pkt_type != PACKET_TO_ALL && skb->pkt_type != PACKET_TO_GROUP) {
		write_sign(skb, id);
		if (is_aggregate(id))
			say_clock(skb);
		return TC_ACT_UNSPEC;
	}
	write_sign(skb, 0);
	if (is_aggregate(id)) {
		book_settled(id, packet.segments, packet.wire_len);
		if (schedule_departure(skb, id, DESTINATION, &packet, &departure_at) == TC_ACT_SHOT)
			return TC_ACT_SHOT;
	}
	if (departure_at)
		hold_until(skb, departure_at);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int podpace_depart(struct __sk_buff *skb)
{
	struct departure_packet packet = { .tstamp = skb->tstamp,
					   .wire_len = skb->wire_len,
					   .segments = skb->gso_segs };
	__u64 departure_at = 0;
	__u32 id = take_sign(skb);

	if (!id) {
		say_monotonic(skb);
		return TC_ACT_UNSPEC;
	}
	book_settled(id, packet.segments, packet.wire_len);
	if (schedule_departure(skb, id, DESTINATION, &packet, &departure_at) == TC_ACT_SHOT)
		return TC_ACT_SHOT;
	stamp_or_keep(skb, departure_at);
	return TC_ACT_UNSPEC;
}

/* What the devices below an exit add to a packet whose segments are of this length. */
inline_always __u32 overhead_of(const struct upper_exit *exit, __u32 wire_len, __u32 segments)
{
	__u32 length = wire_len / segments, padded = length;

	if (exit->align) {
		padded = (length + exit->align - 1) / exit->align * exit->align;
		if (padded > exit->mtu)
			padded = length > exit->mtu ? length : exit->mtu;
	}
	return (exit->frame_bytes + padded - length) * segments;
}

/*
 * A tunnel, VLAN, bond, team or bridge: what is charged is the frame that leaves the device below, and the stamp has to
 * reach the fq there.
 */
SEC("tc")
int podpace_depart_upper(struct __sk_buff *skb)
{
	struct departure_packet packet = { .tstamp = skb->tstamp,
					   .wire_len = skb->wire_len,
					   .segments = skb->gso_segs };
	__u32 ifindex = skb->ifindex, segments = packet.segments > 1 ? packet.segments : 1;
	__u64 departure_at = 0;
	__u32 id = take_sign(skb);
	const struct upper_exit *exit;

	if (!id) {
		say_monotonic(skb);
		return TC_ACT_UNSPEC;
	}
	book_settled(id, packet.segments, packet.wire_len);
	exit = bpf_map_lookup_elem(&upper_exits, &ifindex);
	if (exit)
		packet.wire_len += overhead_of(exit, packet.wire_len, segments);
	if (schedule_departure(skb, id, DESTINATION, &packet, &departure_at) == TC_ACT_SHOT)
		return TC_ACT_SHOT;
	stamp_or_keep(skb, departure_at);
	return TC_ACT_UNSPEC;
}

/* The ingress aggregate of the pod behind a host interface; 0 for packets that it does not count. */
inline_always __u32 receiving_aggregate(const struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct host_interface *host_interface = bpf_map_lookup_elem(&host_interfaces, &ifindex);

	return host_interface ? host_interface->ingress_id : 0;
}

/* The later of the sender's departure and the receiver's, of which 0 is none. */
inline_always void stamp_arrival(struct __sk_buff *skb, __u64 arrives_at)
{
	__u64 left_at = skb->tstamp;

	if (arrives_at && departure_ahead(left_at, arrives_at) <= HORIZON_MAX_NS)
		arrives_at = departure_max(left_at, arrives_at);
	stamp_or_keep(skb, arrives_at);
}

/* What the node itself sends to a pod that sends to it: see answers.h. */
inline_always void hold_answer(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct host_interface *host_interface = bpf_map_lookup_elem(&host_interfaces, &ifindex);
	__u64 until;

	if (!host_interface || !host_interface->egress_id)
		return;
	until = answer_waits_until(skb, host_interface->egress_id);
	if (until)
		stamp_arrival(skb, until);
}

/*
 * What podpace_receive does, with nothing but a clock: while somebody has taken that program out of `continuations`, until
 * the helper has put it back seconds later. The clock of the state goes along, so that nobody gains a queue by the change,
 * neither way.
 */
inline_always int receive_by_clock(struct __sk_buff *skb, __u64 *arrives_at)
{
	struct departure_packet packet = { .wire_len = skb->wire_len, .segments = skb->gso_segs };
	__u32 id = receiving_aggregate(skb), index = id - AGGREGATE_ID_MIN, lists;
	const struct aggregate_config *config = bpf_map_lookup_elem(&aggregate_config, &index);
	struct aggregate_gate *gate = bpf_map_lookup_elem(&aggregate_gates, &index);
	struct aggregate_counters *counters;
	struct aggregate_state *state;
	struct departure departure;

	if (!config || !gate || !read_once(config->rate_bytes_per_sec))
		return TC_ACT_UNSPEC;
	lists = read_once(config->exemptions);
	if (lists && is_exempt(skb, id, lists, SOURCE)) {
		book_exempt(id, packet.segments, packet.wire_len);
		return TC_ACT_UNSPEC;
	}
	state = in_page(&aggregate_state, index);
	packet.now = bpf_ktime_get_ns();

	bpf_spin_lock(&gate->lock);
	if (state)
		gate->clock = departure_max(gate->clock, state->departures.t_last);
	departure = departure_without_state(config, &gate->clock, &packet);
	if (state) {
		state->departures.t_last = gate->clock;
		state->departures.t_last_copy = gate->clock;
	}
	bpf_spin_unlock(&gate->lock);

	counters = in_page(&aggregate_counters, index);
	if (counters)
		count(counters, &departure, packet.wire_len);
	if (departure.verdict > DEPART_MARKED) {
		book_dropped(id, packet.segments, packet.wire_len);
		return TC_ACT_SHOT;
	}
	*arrives_at = packet.now + departure.sojourn;
	return TC_ACT_UNSPEC;
}

/*
 * Into a pod: the egress aggregate of a sender on the same node, when it has one, and then the ingress aggregate of this
 * pod. The later departure wins; the clocks do not see each other, so a sender that queues for long leaves no gap
 * in the receiver's link. For the same reason a time that the sender's socket asks for only delays.
 *
 * Two programs, because the verifier of Linux 6.1 gives up on two departure steps in one.
 */
SEC("tc")
int podpace_deliver(struct __sk_buff *skb)
{
	struct departure_packet packet = { .tstamp = skb->tstamp,
					   .wire_len = skb->wire_len,
					   .segments = skb->gso_segs };
	__u64 left_at = 0, arrives_at = 0;
	__u32 id = take_sign(skb);

	if (id) {
		book_settled(id, packet.segments, packet.wire_len);
		if (schedule_departure(skb, id, DESTINATION, &packet, &left_at) == TC_ACT_SHOT)
			return TC_ACT_SHOT;
		if (left_at)
			hold_until(skb, left_at);
	} else if (!skb->ingress_ifindex) {
		hold_answer(skb);
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
	struct departure_packet packet = { .wire_len = skb->wire_len, .segments = skb->gso_segs, .is_merged = 1 };
	__u32 id = receiving_aggregate(skb);
	__u64 arrives_at = 0;

	if (id && schedule_departure(skb, id, SOURCE, &packet, &arrives_at) == TC_ACT_SHOT)
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
	if (skb->protocol == ETHER_TYPE_IPV4)
		return forward_ipv4(skb, pod);
	if (skb->protocol == ETHER_TYPE_IPV6)
		return forward_ipv6(skb, pod);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int podpace_arrive(struct __sk_buff *skb)
{
	if (!is_routable(skb))
		return TC_ACT_UNSPEC;
	if (skb->protocol == ETHER_TYPE_IPV4)
		return arrive_ipv4(skb);
	if (skb->protocol == ETHER_TYPE_IPV6)
		return arrive_ipv6(skb);
	return TC_ACT_UNSPEC;
}

#include "node.h"

char podpace_license[] SEC("license") = "Dual BSD/GPL";
