/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The departure step: when may the next packet of an aggregate leave?
 *
 * DOC: Theory of operation
 *
 * An aggregate is a virtual link of its rate. Its clock, t_last, says when that link has sent everything that
 * was charged to it. For a packet at the time now:
 *
 *	start     = max(t_last, now - burst, tstamp)	transmission begins on the virtual link
 *	departure = max(start, now)			the packet is held until then
 *	t_last    = start + charge			charge: the packet's wire length divided by the rate
 *
 * - A packet waits for the backlog before it and never for itself. (A 64 KB GSO packet takes 52 ms at
 *   10 Mbit/s. A step that adds the packet's own time first would drop it at a horizon of 50 ms, for ever.)
 * - Idle time earns credit, but never more than burst: the clock is taken to lag behind now by at most that.
 * - The packet is dropped, and nothing charged, when it would have to wait for the horizon or longer.
 *
 * What holds, whatever the packets are:
 *
 * - Bytes that depart in any window <= rate * (window + burst) + one packet. Proof: successive starts lie at
 *   least one charge apart, and start <= departure <= start + burst. Hence the starts of all that departs within
 *   the window lie within window + burst, and the charges of all but the last of them fit in there.
 * - Departures of one aggregate never go back, since neither start nor now does. (On several CPUs: those of
 *   packets that are held. One that need not wait leaves when its CPU gets to it.)
 * - An aggregate without backlog never drops, and delays only what asks for it by tstamp.
 *
 * tstamp is a departure time that someone asked for before: the socket (SO_TXTIME, TCP pacing), or this very step
 * for the other aggregate of a packet between two pods. It moves the clock, or else packets that were all stamped
 * for one instant could leave as a burst there. It counts only when it lies ahead of now, by less than
 * the longest horizon: a value of another clock than the monotonic one (a receive timestamp, CLOCK_TAI) is decades
 * away. Going by the value instead of __sk_buff->tstamp_type is on purpose: a stamp written by a BPF program at the
 * egress hook leaves the type as it was, so the type does not tell our stamps, or another EDT program's, from none.
 *
 * Rounding. The clock counts whole nanoseconds; a 64-byte packet takes half of one at 1 Tbit/s. A charge of
 * CHARGE_COARSE_NS or more is rounded up, which costs less than 0.1 % of the rate. A smaller one pays its
 * fraction in units of 2^-16 ns out of the clock's second word, prepaid, which a whole nanosecond of t_last refills.
 * Either way t_last is never less than the exact sum of the charges: rounding never exceeds the cap.
 *
 * Ranges. Any wire length that fits 32 bits, times 10^9, fits 63 bits. Rates go up to RATE_MAX (1 Pbit/s); more
 * counts as that. With t_last in nanoseconds since boot nothing wraps for 200 years, idle or not.
 *
 * Several CPUs. The clock advances by compare-and-exchange: what a packet was granted is what it was charged, and
 * a drop touches nothing. Each failed attempt means that another CPU succeeded. After CHARGE_ATTEMPTS of them
 * the packet adds its charge without looking and departs at what it found there. It is still charged in full. What
 * may be lost is credit or a tstamp: the clock is not pulled up to now - burst or to tstamp. The first was done by
 * those who won, a few instructions ago, with a now that is older by as much; the second bunches this one packet.
 *
 * Repair. A legitimate clock is ahead of now by less than the horizon at which its last packet was accepted, plus
 * that packet's own time, and the latter can be long: 64 KB at 1 kbit/s take 524 s. So only a clock that is ahead by
 * more than the longest horizon plus the time of the largest packet at the present rate is out of order: damaged, or
 * left by a rate that was much lower. It is pulled back to just below now + horizon, which is where the
 * last packet in the qdisc may stand, so that nothing overtakes. A rate of zero means an unused entry: nothing is paced.
 */
#ifndef PODPACE_DEPARTURE_H
#define PODPACE_DEPARTURE_H

#include <linux/types.h>

/* What the helper sets: value of the map aggregate_config. */
struct aggregate_config {
	__u64 rate_bytes_per_sec;
	__u32 horizon_ns;
	__u32 burst_ns;
};

/* What only the departure step writes: value of the map aggregate_clock, one cache line apart. */
struct aggregate_clock {
	__u64 t_last; /* monotonic ns: the virtual link is busy until then */
	__u64 prepaid; /* low 16 bits: the part of t_last's last nanosecond that nobody used yet, in 2^-16 ns */
	__u64 reserved[6];
};

/* Returned in place of a departure time. */
#define DEPARTURE_DROP (~0ULL)

#define RATE_MAX 125000000000000ULL /* bytes per second: 1 Pbit/s */
#define HORIZON_MAX_NS 0xffffffffULL /* what horizon_ns can say */
#define WIRE_LEN_MAX (1U << 21) /* BIG TCP: 512 KiB in segments of 48 bytes, with 114 bytes of headers each */
#define CHARGE_COARSE_NS 1024
#define CHARGE_ATTEMPTS 16

#define FRACTION_SHIFT 16
#define FRACTION_MASK ((1U << FRACTION_SHIFT) - 1)

#define departure_inline static inline __attribute__((always_inline))
#define read_once(word) (*(const volatile typeof(word) *)&(word))
#define fetch_and_add(word, value) __sync_fetch_and_add(&(word), value)
#ifndef compare_and_swap /* a test puts another CPU in between */
#define compare_and_swap(word, old, new) __sync_val_compare_and_swap(&(word), old, new)
#endif

/* How long the virtual link is busy with a packet: ns + fraction * 2^-16, rounded up. */
struct departure_charge {
	__u64 ns;
	__u32 fraction; /* 0 .. 2^16 */
};

departure_inline struct departure_charge departure_charge(__u64 rate_bytes_per_sec, __u32 wire_len)
{
	__u64 rate = rate_bytes_per_sec < RATE_MAX ? rate_bytes_per_sec : RATE_MAX;
	__u64 byte_ns = (__u64)wire_len * 1000000000;
	struct departure_charge charge = { .ns = byte_ns / rate };
	__u64 rest = byte_ns - charge.ns * rate;

	if (charge.ns < CHARGE_COARSE_NS)
		charge.fraction = ((rest << FRACTION_SHIFT) + rate - 1) / rate;
	else if (rest)
		charge.ns++;
	return charge;
}

/* Pays the fraction of a charge whose whole nanoseconds are on the clock already. */
departure_inline void departure_settle(struct aggregate_clock *clock, __u32 fraction)
{
	__u64 prepaid = fetch_and_add(clock->prepaid, -(__u64)fraction);

	if ((prepaid & FRACTION_MASK) < fraction)
		fetch_and_add(clock->t_last, 1);
}

/* Before this the packet cannot start, however idle the aggregate is: credit is bounded, and tstamp is kept. */
departure_inline __u64 departure_earliest(__u64 now, __u64 tstamp, __u32 burst_ns)
{
	if (tstamp > now && tstamp - now <= HORIZON_MAX_NS)
		return tstamp;
	return now > burst_ns ? now - burst_ns : 0;
}

/* No packet that was ever accepted can have set the clock this far ahead, not at the present rate. */
departure_inline int departure_out_of_order(__u64 rate_bytes_per_sec, __u64 t_last, __u64 now)
{
	struct departure_charge largest = departure_charge(rate_bytes_per_sec, WIRE_LEN_MAX);

	return t_last > now && t_last - now > HORIZON_MAX_NS + largest.ns + 1;
}

/*
 * departure_schedule() - Charge a packet to its aggregate and find its departure time
 * @config:	the aggregate's rate, horizon and burst; the helper may change them at any time
 * @clock:	the aggregate's clock, shared by all CPUs
 * @now:	monotonic time
 * @tstamp:	departure time asked for before, or anything that is none
 * @wire_len:	bytes as the link sees them, headers of GSO segments included
 *
 * Return: the departure time, at most @now when the packet may leave at once; DEPARTURE_DROP when it lies at
 * the horizon or beyond, and then nothing is charged
 */
departure_inline __u64 departure_schedule(const struct aggregate_config *config, struct aggregate_clock *clock,
					  __u64 now, __u64 tstamp, __u32 wire_len)
{
	__u64 rate = read_once(config->rate_bytes_per_sec);
	__u32 horizon_ns = read_once(config->horizon_ns);
	__u64 earliest = departure_earliest(now, tstamp, read_once(config->burst_ns));
	__u64 start, t_last, found;
	struct departure_charge charge;
	int attempt;

	if (!rate)
		return now;
	charge = departure_charge(rate, wire_len);
	t_last = read_once(clock->t_last);

	for (attempt = 0; attempt < CHARGE_ATTEMPTS; attempt++) {
		start = t_last > earliest ? t_last : earliest;
		if (start > now && start - now >= horizon_ns)
			goto late;
		found = compare_and_swap(clock->t_last, t_last, start + charge.ns);
		if (found == t_last)
			goto charged;
		t_last = found;
	}

	t_last = fetch_and_add(clock->t_last, charge.ns);
	start = t_last > earliest ? t_last : earliest;
	if (start > now && start - now >= horizon_ns) {
		fetch_and_add(clock->t_last, -charge.ns);
		return DEPARTURE_DROP;
	}
	goto charged;

late:
	if (!departure_out_of_order(rate, t_last, now))
		return DEPARTURE_DROP;
	start = now + horizon_ns - 1;
	if (start < earliest)
		start = earliest;
	if (compare_and_swap(clock->t_last, t_last, start + charge.ns) != t_last)
		return DEPARTURE_DROP;
charged:
	if (charge.fraction)
		departure_settle(clock, charge.fraction);
	return start > now ? start : now;
}

#endif
