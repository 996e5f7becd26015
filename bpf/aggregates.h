/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps of an aggregate: settings, gate, state and counters, and how they are found by its id.
 *
 * Settings and gates are arrays that nobody can delete from. State and counters are in pages that
 * the helper makes and somebody may take away: whoever looks them up must go on without them.
 */
#ifndef PODPACE_AGGREGATES_H
#define PODPACE_AGGREGATES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "departure.h"

/* Ids are above any receive queue that a driver may have recorded in queue_mapping. */
#define AGGREGATE_ID_MIN 4096
#define AGGREGATE_COUNT 16384
#define PAGE_LENGTH 64 /* aggregates in one page */

#define SOJOURN_BUCKETS 16
#define SOJOURN_SHIFT 16 /* the first bucket ends at 2^16 ns */

/* What every aggregate has, whatever happens to its state. */
struct aggregate_gate {
	struct bpf_spin_lock lock; /* of the aggregate's state too */
	__u32 latest_frame; /* number of the frame charged last: see copies.h */
	__u64 clock; /* monotonic ns, while the aggregate has no state */
};

struct aggregate_state {
	struct departure_state departures;
	struct departure latest; /* of the latest packet */
	__u64 latest_at; /* when it came, monotonic ns */
};

/* Of one CPU. Further ones stand behind the histogram. */
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
	__u64 throttled_ns; /* see departure_throttled() */
	__u64 sojourn[SOJOURN_BUCKETS]; /* packets by sojourn: below 2^16 ns, 2^17 ns, ... */
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
 * A map of pages: memory follows the number of pods, and a value is found by index alone, where
 * lookups in a hash would take a quarter of the time of a packet. A page gives the size of its
 * values, since clang writes no BTF of types behind two pointers.
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

/* The value of an aggregate in its page; NULL without that page. */
static __always_inline void *in_page(void *pages, __u32 index)
{
	__u32 number = index / PAGE_LENGTH, slot = index % PAGE_LENGTH;
	void *page = bpf_map_lookup_elem(pages, &number);

	return page ? bpf_map_lookup_elem(page, &slot) : NULL;
}

/* Whether it is an id of ours; anything else in queue_mapping is a receive queue. */
static __always_inline int is_aggregate(__u32 id)
{
	return id - AGGREGATE_ID_MIN < AGGREGATE_COUNT;
}

/* The bucket of a sojourn: how many bits it has beyond the first bucket's. */
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

/* What became of a packet, and for how much longer its aggregate throttles with it. */
struct charged {
	struct departure departure;
	__u64 throttled_ns;
};

static __always_inline void count(struct aggregate_counters *counters,
				  const struct charged *charged, __u32 wire_len)
{
	const struct departure *departure = &charged->departure;

	counters->throttled_ns += charged->throttled_ns;
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
