// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Values of maps that stand in pages, for their types alone: of what is behind two pointers, as in
 * podpace's own object, clang tells nothing.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "aggregates.h"
#include "books.h"
#include "departure-state.h"

#define TYPE_OF(structure)                        \
	struct {                                  \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(max_entries, 1);           \
		__type(key, __u32);               \
		__type(value, struct structure);  \
	} of_##structure SEC(".maps")

TYPE_OF(aggregate_state);
TYPE_OF(aggregate_counters);
TYPE_OF(aggregate_book);

char paged_license[] SEC("license") = "Dual BSD/GPL";
