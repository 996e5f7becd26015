/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the departure step works on: settings, state, packets; and the arithmetic that all of it
 * uses.
 */
#ifndef PODPACE_DEPARTURE_STATE_H
#define PODPACE_DEPARTURE_STATE_H

#include "compiler.h"

#define RATE_MAX 125000000000000ULL /* bytes per second: 1 Pbit/s */
#define HORIZON_MIN_NS 1000000U
#define HORIZON_MAX_NS 0xffffffffU /* what horizon_ns can say */
#define CREDIT_MAX_NS 20000000U
#define INTERVAL_MIN_NS 1000000U
#define WIRE_LEN_MAX \
	(1U << 21) /* BIG TCP: 512 KiB in segments of 48 bytes, with 114 bytes of headers each */

#define CHARGE_COARSE_NS 1024
#define FRACTION_SHIFT 16

#define FLOW_SETS 16
#define FLOW_WAYS 8
#define SPARSE_DIVISOR 8 /* a sparse flow uses less than this part of the rate */
#define SPARSE_ALLOWANCE_NS 250000U /* but may fill the link for so long at once */
#define SPARSE_MEMORY_NS \
	100000000U /* after sending more it has to keep quiet for so long at most */
#define SMALL_WIRE_LEN \
	576 /* acknowledgements, SYNs, DNS (RFC 1035: 512 bytes): exempt from signals */

/* A queue of so many targets, or so far above one, or of half the horizon, is in slow start. */
#define URGENT_TARGETS 5
#define URGENT_AHEAD_NS 20000000U
#define DROPPED_SEGMENTS \
	2 /* a signal that is a drop waits for a packet of no more segments than these */
#define RECOVERY_QUEUES \
	4 /* and after a drop for so many times the queue: retransmissions are packets of few segments */
#define DROPPED_SHIFT 16
#define SPARED_FRAMES \
	2 /* a flow that queues no more than these is not signalled: it could hardly send less */
#define FULL_FRAME 1514

#define LOAN_PARTS 16 /* sparse_credit is lent and paid back in so many parts */
#define SIGNAL_COUNT_MAX (1U << 20)
#define BULK_FLOWS_MAX 65535

/* What the helper sets, at any time: value of the map aggregate_config. */
struct aggregate_config {
	__u64 rate_bytes_per_sec;
	__u32 horizon_ns;
	__u32 idle_credit_ns;
	__u32 sparse_credit_ns;
	__u32 target_ns; /* 0: neither AQM nor fairness */
	__u32 interval_ns;
	/* not for the departure step: which lists of exempt addresses its packets are looked up in */
	__u32 exemptions;
};

/* One flow. All times are monotonic ns. */
struct departure_flow {
	__u64 last; /* its latest departure */
	/* its own link of 1 / SPARSE_DIVISOR of the rate, or less, is busy until then */
	__u64 sparse_clock;
	__u64 fair_clock; /* its own link of a fair share of the rate is busy until then, in fair time */
	__u32 round; /* in which it was last counted as a bulk flow */
	__u32 dropped_at; /* when the AQM dropped one of its packets, in units of 2^DROPPED_SHIFT ns */
};

struct departure_flow_set {
	__u32 tags[FLOW_WAYS]; /* hash of the flow, never 0 */
	__u32 latest_way; /* of the latest packet's flow: where the next one is looked for first */
	__u32 reserved;
	struct departure_flow
		flows[FLOW_WAYS +
		      1]; /* one for each way, and one of those that found all ways busy */
};

/*
 * What only the departure step writes, under the aggregate's lock. All zero is a valid beginning.
 */
struct departure_state {
	__u64 t_last; /* monotonic ns: the virtual link is busy until then */
	__u64 t_last_copy;
	struct aggregate_config config; /* the settings in force: those of the map, in range */
	__u32 prepaid; /* the part of t_last's last nanosecond that nobody used yet, in 2^-16 ns */

	__u32 bulk_flows; /* counted in this round */
	__u32 flows; /* bulk flows that share the rate: of this round or the one before, at least 1 */
	__u32 round;
	__u64 round_end;

	__u64 signal_at; /* when the next signal is due; 0: not queueing beyond the target */
	__u64 signal_last;
	__u32 signal_spacing;
	__u32 signal_count;

	__u64 sparse_ns; /* for which the link was busy with packets of the sparse lane */
	__u64 loans[LOAN_PARTS]; /* slot with which a part of the sparse credit is paid back */
	__u32 loan_part; /* index of the part that was filled last */
	__u32 loan_rest; /* ns of the part after it that are lent */
	__u32 loan_credit; /* the sparse credit that the parts are of */
	__u32 way; /* of the flow at hand */

	struct departure_flow_set sets[FLOW_SETS];
};

struct departure_packet {
	__u64 now; /* monotonic */
	__u64 tstamp; /* departure time asked for before, or anything that is none */
	__u32 wire_len; /* as the link sees it, headers of GSO segments included */
	__u32 flow_hash;
	__u32 ecn_capable;
	__u32 segments; /* on the link; 0 counts as 1 */
	__u32 is_merged; /* by others than the socket that sends it */
	__u32 police_ns; /* it cannot be held: its flow may be no further ahead of its share; 0: it can */
};

enum departure_verdict {
	DEPART,
	DEPART_SPARSE, /* before its slot */
	DEPART_MARKED, /* to be marked CE */
	DROP_HORIZON,
	DROP_AQM,
	DROP_FLOW, /* more than its share */
};

struct departure {
	__u64 sojourn; /* ns from now until it departs */
	__u32 verdict;
	__u32 repaired; /* something was damaged */
};

/* Of a packet, without what an earlier comparison has told the verifier. */
static __always_inline __u32 departure_wire_len(const struct departure_packet *packet)
{
	__u32 wire_len = packet->wire_len;

	verifier_forget_range(wire_len, packet->now);
	return wire_len;
}

static __always_inline __u32 departure_segments(const struct departure_packet *packet)
{
	__u32 segments = packet->segments;

	verifier_forget_range(segments, packet->now);
	return segments;
}

static __always_inline __u32 departure_is_ecn_capable(const struct departure_packet *packet)
{
	__u32 is_capable = packet->ecn_capable;

	verifier_forget_range(is_capable, packet->now);
	return is_capable;
}

/* How long the virtual link is busy with a packet: ns + fraction * 2^-16, rounded up. */
struct departure_charge {
	__u64 ns;
	__u32 fraction; /* 0 .. 2^16 */
};

static __always_inline __u64 departure_max(__u64 a, __u64 b)
{
	return a > b ? a : b;
}

static __always_inline __u64 departure_min(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

/*
 * a - b, but at least 0: how far a lies ahead of b. Left to itself clang puts the comparison into a
 * register and then asks that: one more branch for every packet, and for the verifier one of which
 * it remembers the outcome, all paths apart.
 */
static __always_inline __u64 departure_ahead(__u64 a, __u64 b)
{
	__u64 ahead = a - b;

	barrier_var(ahead);
	return a > b ? ahead : 0;
}

/*
 * 1 if a < b, or else 0, without a branch, for loops: with branches in them each turn has the
 * verifier follow as many paths as these can take together. It is the borrow of a - b, of which
 * clang may not see that it is one.
 */
static __always_inline __u64 departure_is_less(__u64 a, __u64 b)
{
	__u64 difference = a - b;

	barrier_var(difference);
	return ((~a & b) | ((~a | b) & difference)) >> 63;
}

static __always_inline struct departure_charge departure_charge(__u64 rate, __u32 wire_len)
{
	__u64 byte_ns = (__u64)wire_len * 1000000000;
	struct departure_charge charge = { .ns = byte_ns / rate };
	__u64 rest = byte_ns - charge.ns * rate;

	if (charge.ns < CHARGE_COARSE_NS)
		charge.fraction = ((rest << FRACTION_SHIFT) + rate - 1) / rate;
	else if (rest)
		charge.ns++;
	verifier_forget_range(charge.ns, rate);
	verifier_forget_range(charge.fraction, rate);
	return charge;
}

#endif
