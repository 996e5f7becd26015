/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What stands for each aggregate: settings, gate, state and counters, and how they are found by its
 * id.
 */
#ifndef PODPACE_AGGREGATES_H
#define PODPACE_AGGREGATES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "departure.h"

/* Ids lie above any receive queue that a NIC's driver may have recorded in queue_mapping. */
#define AGGREGATE_ID_MIN 4096
#define AGGREGATE_COUNT 16384
#define PAGE_LENGTH 64 /* aggregates whose state stands in one map */

#define SOJOURN_BUCKETS 16
#define SOJOURN_SHIFT 16 /* the first bucket ends at 2^16 ns */

/* What has to be there for each aggregate, come what may. */
struct aggregate_gate {
	struct bpf_spin_lock lock; /* of the aggregate's state too */
	__u32 latest_frame; /* number of the one that was charged last: see copies.h */
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
	__u64 sojourn
		[SOJOURN_BUCKETS]; /* packets by departure - now: below 2^16 ns, 2^17 ns, ... */
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
 * A map whose values stand in pages, which the helper makes: memory follows the number of pods, and
 * values are found by index alone. Two lookups in a hash would take a quarter of the time of the
 * whole. (The size of a value, because clang tells nothing of types behind two pointers.)
 */
#define PAGE(map_type, structure)                      \
	struct {                                       \
		__uint(type, map_type);                \
		__uint(max_entries, PAGE_LENGTH);      \
		__uint(key_size, sizeof(__u32));       \
		__uint(value_size, sizeof(structure)); \
	}
#define PAGED_MAP(name, map_type, structure)                        \
	struct {                                                    \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);           \
		__uint(max_entries, AGGREGATE_COUNT / PAGE_LENGTH); \
		__type(key, __u32);                                 \
		__type(value, __u32);                               \
		__array(values, PAGE(map_type, structure));         \
	} name SEC(".maps")

PAGED_MAP(aggregate_state, BPF_MAP_TYPE_ARRAY, struct aggregate_state);
PAGED_MAP(aggregate_counters, BPF_MAP_TYPE_PERCPU_ARRAY, struct aggregate_counters);

/* The value of an aggregate in its page; NULL when somebody has taken the page away. */
static __always_inline void *in_page(void *pages, __u32 index)
{
	__u32 number = index / PAGE_LENGTH, slot = index % PAGE_LENGTH;
	void *page = bpf_map_lookup_elem(pages, &number);

	return page ? bpf_map_lookup_elem(page, &slot) : 0;
}

/* An id of ours; anything else in queue_mapping is somebody's receive queue. */
static __always_inline int is_aggregate(__u32 id)
{
	return id - AGGREGATE_ID_MIN < AGGREGATE_COUNT;
}

/* Which bucket: how many bits a sojourn has beyond the first bucket's. */
static __always_inline __u32 sojourn_bucket(__u64 sojourn_ns)
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

static __always_inline void count(struct aggregate_counters *counters,
				  const struct departure *departure, __u32 wire_len)
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

#endif
