/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Host routing: packets between a pod and an uplink bypass the node's IP stack, by the kernel's own
 * routes and neighbours.
 *
 * The stack orphans a packet that it forwards (skb_orphan in ip_rcv), so a pod's TCP cannot feel
 * the queue that its packets wait in. Redirected at the pod's end they keep their socket until fq
 * releases them.
 *
 * Only plain packets go this way: unicast to or from the very addresses that the pod was given,
 * without IPv4 options, IPv6 extension headers, fragments, a mark or a VLAN tag, with hops left,
 * and small enough for the next link. All else is left to the stack, which sends ICMP errors,
 * reassembles, resolves neighbours and checks source addresses (rp_filter). Netfilter does not see
 * what is redirected.
 */
#ifndef PODPACE_ROUTING_H
#define PODPACE_ROUTING_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"

/* Of sys/socket.h, which has no place in a BPF program. */
#define AF_INET 2
#define AF_INET6 10

#define ROUTED_POD_COUNT 16384
#define POD_ADDRESS_COUNT 65536

/* A pod whose packets are routed here: value of routed_pods, by the index of its host interface. */
struct routed_pod {
	__u32 ipv4; /* its source addresses; zeros: none of this family */
	__u32 ipv6[4];
};

/* Where packets to an address of such a pod go: value of pod_addresses. */
struct pod_address {
	__u32 ifindex; /* of the host interface */
	__u32 is_shaped; /* an ingress cap: packets have to pass the host interface's qdisc */
	__u32 macs[2 * ETH_ALEN / 4]; /* destination and source; zeros for a layer 3 device */
};

struct address_key {
	__u32 address[4]; /* IPv4 is mapped: ::ffff:a.b.c.d */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
	__uint(max_entries, ROUTED_POD_COUNT);
	__type(key, __u32);
	__type(value, struct routed_pod);
} routed_pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
	__uint(max_entries, POD_ADDRESS_COUNT);
	__type(key, struct address_key);
	__type(value, struct pod_address);
} pod_addresses SEC(".maps");

/* struct ipv6hdr with its addresses in words, as struct bpf_fib_lookup has them. */
struct ipv6_header {
	__u32 version_class_label;
	__u16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u32 source[4];
	__u32 destination[4];
};

/* Whether a packet is routed here at all, whatever its addresses. */
static __always_inline int is_routable(const struct __sk_buff *skb)
{
	return skb->pkt_type == PACKET_HOST && !skb->vlan_present && !skb->mark;
}

static __always_inline int read_ipv4(struct __sk_buff *skb, struct iphdr *ip)
{
	return !load_net_bytes(skb, 0, ip, sizeof(*ip)) && ip->version == 4 && ip->ihl == 5 &&
	       !(ip->frag_off & IPV4_FRAGMENT) && ip->ttl > 1;
}

/* Extension headers, fragments among them, have other numbers than these. */
static __always_inline int read_ipv6(struct __sk_buff *skb, struct ipv6_header *ip)
{
	return !load_net_bytes(skb, 0, ip, sizeof(*ip)) && ip->hop_limit > 1 &&
	       (ip->next_header == IPPROTO_TCP || ip->next_header == IPPROTO_UDP ||
		ip->next_header == IPPROTO_ICMPV6);
}

static __always_inline int is_same_ipv6(const __u32 a[4], const __u32 b[4])
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* Neither 224.0.0.0/4 and above, nor the host's own 0.0.0.0/8 and 127.0.0.0/8. */
static __always_inline int is_unicast_ipv4(__u32 address)
{
	__u32 first = address & 0xff; /* in network byte order */

	return first && first < 224 && first != 127;
}

/* Neither multicast (ff00::/8) nor link-local (fe80::/10). */
static __always_inline int is_global_ipv6(const __u32 address[4])
{
	__u32 first = bpf_ntohl(address[0]);

	return first >> 24 != 0xff && first >> 22 != 0xfe80 >> 6;
}

/* The checksum by RFC 1141. Returns 0 if the packet cannot be written to. */
static __always_inline int decrease_ttl(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u32 sum = ip->check + bpf_htons(0x0100);
	struct {
		__u8 ttl;
		__u8 protocol;
		__u16 checksum;
	} next = { ip->ttl - 1, ip->protocol, sum + (sum >= 0xffff) };

	return !bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &next,
				    sizeof(next), 0);
}

static __always_inline int decrease_hop_limit(struct __sk_buff *skb, const struct ipv6_header *ip)
{
	__u8 next = ip->hop_limit - 1;

	return !bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6_header, hop_limit), &next,
				    sizeof(next), 0);
}

/* Length of a packet, or of each of its segments, on the next link, without the link's header. */
static __always_inline __u32 packet_length(struct __sk_buff *skb, __u32 network_header,
					   __u8 protocol)
{
	__u8 data_offset = 0;

	if (!skb->gso_size)
		return skb->len - ETH_HLEN;
	if (protocol != IPPROTO_TCP)
		return network_header + sizeof(struct udphdr) + skb->gso_size;
	load_net_bytes(skb, network_header + 12, &data_offset, sizeof(data_offset));
	return network_header + (data_offset >> 4) * 4 + skb->gso_size;
}

/* What a FIB lookup is told: where does a packet go, and does the next link take its length? */
static __always_inline void fill_fib_ipv4(struct __sk_buff *skb, const struct iphdr *ip,
					  struct bpf_fib_lookup *fib)
{
	fib->l4_protocol = ip->protocol;
	fib->tos = ip->tos;
	fib->tot_len = packet_length(skb, sizeof(struct iphdr), ip->protocol);
	fib->ipv4_src = ip->saddr;
	fib->ipv4_dst = ip->daddr;
}

static __always_inline void fill_fib_ipv6(struct __sk_buff *skb, const struct ipv6_header *ip,
					  struct bpf_fib_lookup *fib)
{
	fib->l4_protocol = ip->next_header;
	fib->flowinfo = ip->version_class_label & bpf_htonl(0x0fffffff);
	fib->tot_len = packet_length(skb, sizeof(struct ipv6hdr), ip->next_header);
	__builtin_memcpy(fib->ipv6_src, ip->source, 16);
	__builtin_memcpy(fib->ipv6_dst, ip->destination, 16);
}

/* Sends a packet where a lookup says; the neighbour there is known. */
static __always_inline int redirect_to(const struct bpf_fib_lookup *fib)
{
	struct bpf_redir_neigh next_hop = { .nh_family = fib->family };

	__builtin_memcpy(next_hop.ipv6_nh, fib->ipv6_dst, sizeof(next_hop.ipv6_nh));
	return bpf_redirect_neigh(fib->ifindex, &next_hop, sizeof(next_hop), 0);
}

/* Out of a pod. Returns TC_ACT_UNSPEC for what is left to the stack. */
static __always_inline int forward_ipv4(struct __sk_buff *skb, const struct routed_pod *pod)
{
	struct bpf_fib_lookup fib = { .family = AF_INET, .ifindex = skb->ifindex };
	struct iphdr ip;

	if (!pod->ipv4 || !read_ipv4(skb, &ip) || ip.saddr != pod->ipv4 ||
	    !is_unicast_ipv4(ip.daddr))
		return TC_ACT_UNSPEC;
	fill_fib_ipv4(skb, &ip, &fib);
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS ||
	    fib.ifindex == skb->ifindex || !decrease_ttl(skb, &ip))
		return TC_ACT_UNSPEC;
	return redirect_to(&fib);
}

static __always_inline int forward_ipv6(struct __sk_buff *skb, const struct routed_pod *pod)
{
	struct bpf_fib_lookup fib = { .family = AF_INET6, .ifindex = skb->ifindex };
	struct ipv6_header ip;

	if (!pod->ipv6[0] || !read_ipv6(skb, &ip) || !is_same_ipv6(ip.source, pod->ipv6) ||
	    !is_global_ipv6(ip.destination))
		return TC_ACT_UNSPEC;
	fill_fib_ipv6(skb, &ip, &fib);
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS ||
	    fib.ifindex == skb->ifindex || !decrease_hop_limit(skb, &ip))
		return TC_ACT_UNSPEC;
	return redirect_to(&fib);
}

/*
 * Into a pod, bypassing its host interface unless that holds packets for a cap. Only where the
 * node's routes lead there as well: an entry may outlive its pod while the helper is down, and the
 * address may be another's by then.
 */
static __always_inline int arrive(struct __sk_buff *skb, const struct pod_address *pod,
				  struct bpf_fib_lookup *fib)
{
	struct pod_address found = *pod;
	long answer = bpf_fib_lookup(skb, fib, sizeof(*fib), 0);

	/* The neighbour need not be known: the entry has its link address. */
	if ((answer != BPF_FIB_LKUP_RET_SUCCESS && answer != BPF_FIB_LKUP_RET_NO_NEIGH) ||
	    fib->ifindex != found.ifindex)
		return TC_ACT_UNSPEC;
	if (found.is_shaped)
		return redirect_to(fib);
	if ((found.macs[0] || found.macs[1]) &&
	    bpf_skb_store_bytes(skb, 0, found.macs, sizeof(found.macs), 0))
		return TC_ACT_UNSPEC;
	return bpf_redirect_peer(found.ifindex, 0);
}

static __always_inline int arrive_ipv4(struct __sk_buff *skb)
{
	struct bpf_fib_lookup fib = { .family = AF_INET, .ifindex = skb->ifindex };
	struct address_key key = {};
	const struct pod_address *pod;
	struct iphdr ip;
	int verdict;

	if (!read_ipv4(skb, &ip) || !is_unicast_ipv4(ip.saddr))
		return TC_ACT_UNSPEC;
	key.address[2] = bpf_htonl(0x0000ffff);
	key.address[3] = ip.daddr;
	pod = bpf_map_lookup_elem(&pod_addresses, &key);
	if (!pod)
		return TC_ACT_UNSPEC;
	fill_fib_ipv4(skb, &ip, &fib);
	verdict = arrive(skb, pod, &fib);
	return verdict == TC_ACT_UNSPEC || decrease_ttl(skb, &ip) ? verdict : TC_ACT_SHOT;
}

static __always_inline int arrive_ipv6(struct __sk_buff *skb)
{
	struct bpf_fib_lookup fib = { .family = AF_INET6, .ifindex = skb->ifindex };
	const struct pod_address *pod;
	struct address_key key;
	struct ipv6_header ip;
	int verdict;

	if (!read_ipv6(skb, &ip) || !is_global_ipv6(ip.source))
		return TC_ACT_UNSPEC;
	__builtin_memcpy(key.address, ip.destination, sizeof(key.address));
	pod = bpf_map_lookup_elem(&pod_addresses, &key);
	if (!pod)
		return TC_ACT_UNSPEC;
	fill_fib_ipv6(skb, &ip, &fib);
	verdict = arrive(skb, pod, &fib);
	return verdict == TC_ACT_UNSPEC || decrease_hop_limit(skb, &ip) ? verdict : TC_ACT_SHOT;
}

#endif
