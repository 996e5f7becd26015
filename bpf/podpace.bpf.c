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

/* Aggregates of a host interface; 0 is none. */
struct host_interface {
	__u32 egress_id;
	__u32 ingress_id;
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
	__type(value, struct aggregate_clock);
} aggregate_clock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, AGGREGATE_COUNT);
	__type(key, __u32);
	__type(value, struct host_interface);
} host_interfaces SEC(".maps");

static inline __attribute__((always_inline)) int schedule_departure(struct __sk_buff *skb, __u32 id)
{
	const struct aggregate_config *config;
	struct aggregate_clock *clock;
	__u32 index = id - AGGREGATE_ID_MIN;
	__u64 now, departure;

	config = bpf_map_lookup_elem(&aggregate_config, &index);
	clock = bpf_map_lookup_elem(&aggregate_clock, &index);
	if (!config || !clock)
		return TC_ACT_UNSPEC;

	now = bpf_ktime_get_ns();
	departure = departure_schedule(config, clock, now, skb->tstamp, skb->wire_len);
	if (departure == DEPARTURE_DROP)
		return TC_ACT_SHOT;
	if (departure > now)
		skb->tstamp = departure;
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
