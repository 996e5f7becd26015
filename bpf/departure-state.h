/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the departure step works on: settings, state and packets, and the arithmetic that its parts
 * share. The theory is in departure.h.
 *
 * The structs are the values of maps: helper/wire/ reads and writes them, and a test compares the
 * two. Maps outlive the helper, so a struct of another shape is another layout:
 * helper/wire/layout.ts.
 */
#ifndef PODPACE_DEPARTURE_STATE_H
#define PODPACE_DEPARTURE_STATE_H

#include "compiler.h"

#define RATE_MAX 125000000000000ULL /* bytes per second: 1 Pbit/s */
#define HORIZON_MIN_NS 1000000U
#define HORIZON_MAX_NS 0xffffffffU /* of the type of horizon_ns */
#define CREDIT_MAX_NS 20000000U
#define INTERVAL_MIN_NS 1000000U
/* BIG TCP: 512 KiB in segments of 48 bytes, each with 114 bytes of headers. */
#define WIRE_LEN_MAX (1U << 21)

/* Charges below this pay their fraction of a nanosecond, in units of 2^-FRACTION_SHIFT ns. */
#define CHARGE_COARSE_NS 1024
#define FRACTION_SHIFT 16

#define FLOW_SETS 16
#define FLOW_WAYS 8
#define BULK_FLOWS_MAX 65535

/*
 * A sparse flow uses less than 1/SPARSE_DIVISOR of the rate, but may fill the link for
 * SPARSE_ALLOWANCE_NS at a time. After sending more it has to pause, for SPARSE_MEMORY_NS at most.
 */
#define SPARSE_DIVISOR 8
#define SPARSE_ALLOWANCE_NS 250000U
#define SPARSE_MEMORY_NS 100000000U
/* Acknowledgements, SYNs, DNS (RFC 1035: 512 bytes): never signalled. */
#define SMALL_WIRE_LEN 576
#define LOAN_PARTS 16 /* sparse_credit is lent and paid back in parts */

/* A queue this many targets long, or this far above one, or of half the horizon: slow start. */
#define URGENT_TARGETS 5
#define URGENT_AHEAD_NS 20000000U
#define SIGNAL_COUNT_MAX (1U << 20)
/*
 * A signal that is a drop waits for a packet of no more segments than DROPPED_SEGMENTS. After it
 * the flow is spared for RECOVERY_QUEUES times the queue: packets of few segments are its
 * retransmissions.
 */
#define DROPPED_SEGMENTS 2
#define RECOVERY_QUEUES 4
#define DROPPED_SHIFT 16 /* dropped_at counts in 2^16 ns */
/* A flow that queues no more than these is spared: it could hardly send less. */
#define SPARED_FRAMES 2
#define FULL_FRAME 1514

/* Settings, which the helper may write at any time: value of the map aggregate_config. */
struct aggregate_config {
	__u64 rate_bytes_per_sec;
	__u32 horizon_ns;
	__u32 idle_credit_ns;
	__u32 sparse_credit_ns;
	__u32 target_ns; /* 0: neither AQM nor fairness */
	__u32 interval_ns;
	__u32 exemptions; /* EXEMPT_*: not for the departure step */
};

/* One flow. Times are monotonic ns. Its own links are virtual, as the aggregate's. */
struct departure_flow {
	__u64 last; /* its latest departure */
	__u64 sparse_clock; /* its link of the rate / SPARSE_DIVISOR, or less, is busy until then */
	__u64 fair_clock; /* its link of a fair share is, in fair time */
	__u32 round; /* in which it was last counted as a bulk flow */
	__u32 dropped_at; /* when the AQM last dropped one of its packets, in 2^DROPPED_SHIFT ns */
};

struct departure_flow_set {
	__u32 tags[FLOW_WAYS]; /* hash of the flow, never 0 */
	__u32 latest_way; /* of the latest packet: the next one is looked for there first */
	__u32 reserved;
	struct departure_flow flows[FLOW_WAYS + 1]; /* the last is shared when all ways are busy */
};

/* Only the departure step writes it, under the aggregate's lock. All zeros is a valid state. */
struct departure_state {
	__u64 t_last; /* monotonic ns: the virtual link is busy until then */
	__u64 t_last_copy;
	struct aggregate_config config; /* the settings in force: those of the map, in range */
	__u32 prepaid; /* the unused part of t_last's last nanosecond, in 2^-16 ns */

	__u32 bulk_flows; /* counted in this round */
	__u32 flows; /* bulk flows that share the rate: of this round or the last, at least 1 */
	__u32 round;
	__u64 round_end;

	__u64 signal_at; /* when the next signal is due; 0: no queue beyond the target */
	__u64 signal_last;
	__u32 signal_spacing;
	__u32 signal_count;

	__u64 sparse_ns; /* total time for which the link carried the sparse lane */
	__u64 loans[LOAN_PARTS]; /* the slot that pays back a part of the sparse credit */
	__u32 loan_part; /* index of the part filled last */
	__u32 loan_rest; /* ns lent of the part after it */
	__u32 loan_credit; /* the sparse credit that the parts divide */
	__u32 way; /* scratch: of the present packet's flow */

	struct departure_flow_set sets[FLOW_SETS];
};

struct departure_packet {
	__u64 now; /* monotonic */
	__u64 tstamp; /* requested departure time, or anything that is none */
	__u32 wire_len; /* as the link sees it, headers of GSO segments included */
	__u32 flow_hash;
	__u32 ecn_capable;
	__u32 segments; /* on the link; 0 counts as 1 */
	__u32 is_merged; /* by others than the sending socket */
	__u32 police_ns; /* nothing can hold it: how far its flow may be ahead of its share; or 0 */
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

/* Members of a packet, without what earlier comparisons told the verifier of them. */
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

/* For how long the virtual link is busy with a packet: ns + fraction * 2^-16, rounded up. */
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
 * How far a is ahead of b; 0 if it is not. Without barrier_var() clang materializes the comparison
 * in a register and branches on that: one branch more for each packet, and one whose outcome the
 * verifier remembers, keeping the paths apart.
 */
static __always_inline __u64 departure_ahead(__u64 a, __u64 b)
{
	__u64 ahead = a - b;

	barrier_var(ahead);
	return a > b ? ahead : 0;
}

/* What is above zero of a difference, without a branch for the verifier to follow. */
static __always_inline __u64 departure_positive(__u64 difference)
{
	__s64 sign = (__s64)difference >> 63;

	barrier_var(sign);
	return difference & ~sign;
}

/*
 * An aggregate throttles while its clock is ahead of now by more than the idle credit: a packet of
 * the bulk that came would have to wait for longer than what a single frame on an idle link is
 * forgiven. For how much longer it does when a packet at `now` moves the clock from `former` to
 * t_last. Time that has yet to pass counts already: whoever reads subtracts it.
 */
static __always_inline __u64 departure_throttled(__u64 former, __u64 t_last, __u64 idle_credit_ns,
						 __u64 now)
{
	__u64 since = now + idle_credit_ns;

	return departure_positive(departure_positive(t_last - since) -
				  departure_positive(former - since));
}

/*
 * 1 if a < b, else 0. Without a branch, for loops: the verifier follows every combination of the
 * branches that a loop takes. It is the borrow of a - b; barrier_var() keeps clang from seeing that
 * and making it a comparison again.
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
