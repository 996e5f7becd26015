// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Lets BPF_PROG_TEST_RUN reach the programs of podpace as they are shipped. A test run takes
 * neither queue_mapping nor tc_index and gives none back; this program sets them and goes on, by a
 * tail call, into the program under test.
 *
 * It takes its orders from skb->cb, which a test run hands over: see enum orders. There it also
 * leaves the packet's flow hash. To look at the packet after the program under test, a test runs
 * this one twice over the same packet: the second time it only reports.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define SKB_CLOCK_TAI 2 /* BPF_SKB_CLOCK_TAI of newer headers */

/* Indexes into skb->cb. */
enum orders {
	SIGNS, /* queue_mapping, and above it tc_index */
	TSTAMP_LOW,
	TSTAMP_HIGH,
	/*
	 * 0: run always; 1: run, then report; 2: report; 3: run, on what was IP and is under two
	 * VLAN tags; 4: as 1, by TAI
	 */
	REPORT,
	FLOW_HASH, /* written here; the clock of tstamp in a report */
};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} under_test SEC(".maps");

SEC("tc")
int enter(struct __sk_buff *skb)
{
	if (skb->cb[REPORT] == 2) {
		skb->mark = skb->queue_mapping | skb->tc_index << 16;
		skb->cb[FLOW_HASH] = skb->tstamp_type;
		return TC_ACT_OK;
	}
	skb->cb[FLOW_HASH] = bpf_get_hash_recalc(skb);
	/* A kernel that does not tell clocks apart (before Linux 6.10) refuses that one. */
	if (skb->cb[REPORT] == 4)
		bpf_skb_set_tstamp(skb, 1, SKB_CLOCK_TAI);
	if (skb->cb[REPORT] == 1 || skb->cb[REPORT] == 4)
		skb->cb[REPORT] = 2;
	/* The second tag has the first put into the frame, and skb->protocol say it. */
	if (skb->cb[REPORT] == 3) {
		bpf_skb_set_tstamp(skb, 1, BPF_SKB_TSTAMP_DELIVERY_MONO);
		bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 1);
		bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 2);
	}
	skb->queue_mapping = skb->cb[SIGNS] & 0xffff; /* a larger one is not written */
	skb->tc_index = skb->cb[SIGNS] >> 16;
	skb->tstamp = (__u64)skb->cb[TSTAMP_HIGH] << 32 | skb->cb[TSTAMP_LOW];
	bpf_tail_call(skb, &under_test, 0);
	return TC_ACT_STOLEN; /* the tail call failed */
}

char enter_license[] SEC("license") = "Dual BSD/GPL";
