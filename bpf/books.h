/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The books: what was seen of an aggregate's packets, and what became of them.
 *
 * The classifier books what comes up from a pod as seen. Whoever takes the sign off a packet, to
 * charge it, exempt it or drop it, books it as settled. What was seen and never settled vanished in
 * between: a firewall dropped it, there was no route, or it left past every exit. The helper
 * compares the two.
 *
 * Both sides count frames and their bytes, without what tunnels add: a merged packet as its
 * segments. Link headers differ between devices, and fragments are more frames than the packet they
 * were, so neither number alone says how much is missing.
 *
 * The books are a map of their own, made where it is missing: they changed no layout.
 */
#ifndef PODPACE_BOOKS_H
#define PODPACE_BOOKS_H

#include <bpf/bpf_helpers.h>

#include "aggregates.h"

struct tally {
	__u64 frames;
	__u64 bytes;
};

/* Of one CPU; a cache line. */
struct aggregate_book {
	struct tally seen; /* by the classifier: what a pod sends only */
	struct tally
		settled; /* signs taken off, to charge, exempt or drop: what a pod sends only */
	struct tally exempt;
	struct tally dropped; /* by the departure step */
};

PAGED_MAP(aggregate_books, BPF_MAP_TYPE_PERCPU_ARRAY, struct aggregate_book);

/*
 * Packets that came in by another device and leave by an exit without a sign, by the exit's index:
 * where the helper looks for signs that were lost. Exits that share a place are all named.
 */
#define UNSIGNED_COUNT 256

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, UNSIGNED_COUNT);
	__type(key, __u32);
	__type(value, struct tally);
} unsigned_traffic SEC(".maps");

/* The book of an aggregate; NULL without its page. */
static __always_inline struct aggregate_book *book_of(__u32 id)
{
	return in_page(&aggregate_books, id - AGGREGATE_ID_MIN);
}

/* 0 segments count as 1 frame. */
static __always_inline void enter(struct tally *tally, __u32 segments, __u32 bytes)
{
	tally->frames += segments ?: 1;
	tally->bytes += bytes;
}

/* A forwarded packet without a sign. */
static __always_inline void book_unsigned(struct __sk_buff *skb)
{
	__u32 place = skb->ifindex % UNSIGNED_COUNT;
	struct tally *tally = bpf_map_lookup_elem(&unsigned_traffic, &place);

	if (tally)
		enter(tally, skb->gso_segs, skb->wire_len);
}

/*
 * A packet of a pod that comes up on its host interface. Returns the number of its frames so far on
 * this CPU; 0 without a book.
 */
static __always_inline __u32 book_seen(__u32 id, const struct departure_packet *packet)
{
	struct aggregate_book *book = book_of(id);

	if (!book)
		return 0;
	enter(&book->seen, packet->segments, packet->wire_len);
	return book->seen.frames;
}

/* A packet of a pod whose sign has been taken off. */
static __always_inline void book_settled(__u32 id, const struct departure_packet *packet)
{
	struct aggregate_book *book = book_of(id);

	if (book)
		enter(&book->settled, packet->segments, packet->wire_len);
}

/* A copy of a packet that was settled already. */
static __always_inline void book_copy(__u32 id, const struct departure_packet *packet)
{
	struct aggregate_book *book = book_of(id);

	if (!book)
		return;
	book->settled.frames -= packet->segments ?: 1;
	book->settled.bytes -= packet->wire_len;
}

/* A packet that the cap does not count. */
static __always_inline void book_exempt(__u32 id, const struct departure_packet *packet)
{
	struct aggregate_book *book = book_of(id);

	if (book)
		enter(&book->exempt, packet->segments, packet->wire_len);
}

/* A packet that the departure step has dropped. */
static __always_inline void book_dropped(__u32 id, const struct departure_packet *packet)
{
	struct aggregate_book *book = book_of(id);

	if (book)
		enter(&book->dropped, packet->segments, packet->wire_len);
}

#endif
