// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The datapath of podpace: three tc programs and the maps they share.
 *
 * podpace_classify	tc ingress of a host interface	writes the aggregate id to skb->queue_mapping
 * podpace_depart	tc egress of an exit		reads the id, sets it back to 0, stamps the departure time
 * podpace_deliver	tc egress of a host interface	stamps the departure time of the ingress aggregate
 *
 * The fq qdisc behind the stamp holds the packet until then. The id crosses routing, NAT and bridging in
 * queue_mapping, which nothing else on that way reads or writes, and which needs no bit of skb->mark. It must be 0
 * again before the device picks its transmit queue: that happens after the egress hook.
 *
 * All return TC_ACT_UNSPEC (TCX_NEXT) so that other programs at the hook run, or drop.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "departure.h"
#include "helpers.h"

/* Ids lie above any receive queue that a NIC's driver may have recorded in queue_mapping. */
#define AGGREGATE_ID_MIN 4096
#define AGGREGATE_COUNT 16384

#define SOJOURN_BUCKETS 16
#define SOJOURN_SHIFT 16 /* the first bucket ends at 2^16 ns */

/* Aggregates of a host interface; 0 is none. */
struct host_interface {
	__u32 egress_id;
	__u32 ingress_id;
};

struct aggregate_state {
	struct bpf_spin_lock lock;
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

/* Entries come with an aggregate's first packet and go with the aggregate: memory follows the number of pods. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, AGGREGATE_COUNT);
	__type(key, __u32);
	__type(value, struct aggregate_state);
} aggregate_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, AGGREGATE_COUNT);
	__type(key, __u32);
	__type(value, struct aggregate_counters);
} aggregate_counters SEC(".maps");

/* Zeros to begin with. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[sizeof(struct aggregate_state)]);
} aggregate_blank SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, AGGREGATE_COUNT);
	__type(key, __u32);
	__type(value, struct host_interface);
} host_interfaces SEC(".maps");

#define inline_always static inline __attribute__((always_inline))

/* Makes an aggregate's entry in a map, unless another CPU was first or there is no memory. */
inline_always void make_entry(void *map, const __u32 *index)
{
	__u32 only = 0;
	const void *blank = bpf_map_lookup_elem(&aggregate_blank, &only);

	if (blank)
		bpf_map_update_elem(map, index, blank, BPF_NOEXIST);
}

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

inline_always int schedule_departure(struct __sk_buff *skb, __u32 id)
{
	const struct aggregate_config *config;
	struct departure_packet packet = { .tstamp = skb->tstamp, .wire_len = skb->wire_len };
	struct departure departure;
	struct aggregate_state *state;
	struct aggregate_counters *counters;
	__u32 index = id - AGGREGATE_ID_MIN;

	config = bpf_map_lookup_elem(&aggregate_config, &index);
	if (!config)
		return TC_ACT_UNSPEC;
	state = bpf_map_lookup_elem(&aggregate_state, &index);
	counters = bpf_map_lookup_elem(&aggregate_counters, &index);
	if (!state || !counters) {
		if (!read_once(config->rate_bytes_per_sec))
			return TC_ACT_UNSPEC;
		make_entry(&aggregate_state, &index);
		make_entry(&aggregate_counters, &index);
		state = bpf_map_lookup_elem(&aggregate_state, &index);
		counters = bpf_map_lookup_elem(&aggregate_counters, &index);
		if (!state || !counters)
			return TC_ACT_UNSPEC;
	}

	packet.flow_hash = bpf_get_hash_recalc(skb);
	packet.now = bpf_ktime_get_ns();
	/* Below the target nothing is marked; that another CPU makes more backlog just now costs one mark. */
	if (departure_ahead(read_once(state->departures.t_last), packet.now) >= read_once(config->target_ns))
		packet.ecn_capable = is_ecn_capable(skb);

	bpf_spin_lock(&state->lock);
	state->latest = departure_schedule(config, &state->departures, &packet);
	state->latest_at = packet.now;
	departure_forget_paths();
	departure = state->latest;
	bpf_spin_unlock(&state->lock);

	count(counters, &departure, packet.wire_len);
	if (departure.verdict > DEPART_MARKED)
		return TC_ACT_SHOT;
	if (departure.verdict == DEPART_MARKED)
		bpf_skb_ecn_set_ce(skb);
	if (departure.sojourn)
		skb->tstamp = packet.now + departure.sojourn;
	return TC_ACT_UNSPEC;
}

/* Writes the id even when it is none: what the pod left in queue_mapping must not choose an aggregate. */
SEC("tc")
int podpace_classify(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct host_interface *host_interface = bpf_map_lookup_elem(&host_interfaces, &ifindex);

	skb->queue_mapping = host_interface ? host_interface->egress_id : 0;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int podpace_depart(struct __sk_buff *skb)
{
	__u32 id = skb->queue_mapping;

	if (id - AGGREGATE_ID_MIN >= AGGREGATE_COUNT)
		return TC_ACT_UNSPEC;
	skb->queue_mapping = 0;
	return schedule_departure(skb, id);
}

SEC("tc")
int podpace_deliver(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct host_interface *host_interface = bpf_map_lookup_elem(&host_interfaces, &ifindex);

	if (!host_interface || !host_interface->ingress_id)
		return TC_ACT_UNSPEC;
	return schedule_departure(skb, host_interface->ingress_id);
}

char podpace_license[] SEC("license") = "Dual BSD/GPL";
