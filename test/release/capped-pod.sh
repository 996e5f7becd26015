#!/bin/sh
# Run in a VM of another architecture (./scripts/vm --arch), where sh is busybox: podpace as a node
# has it from the archive in the directory $1, a pod whose egress is capped at $2 bit/s, and one
# flow of $3 seconds to a peer beyond the uplink. Prints the peer's report, iperf3's JSON.
set -eu
home=$1
rate=$2
seconds=$3

fail() {
  echo "$1" >&2
  cat /tmp/podpaced.log >&2
  exit 1
}

/bin/ip netns add peer
/bin/ip netns add pod
/bin/ip link add up0 type veth peer name up1 netns peer
/bin/ip addr add 192.0.2.1/24 dev up0
/bin/ip link set up0 up
/bin/ip -n peer addr add 192.0.2.2/24 dev up1
/bin/ip -n peer link set up1 up
/bin/ip -n peer route add 10.1.0.0/24 via 192.0.2.1
/bin/ip route add default via 192.0.2.2

"$home/podpaced" run >/tmp/podpaced.log 2>&1 &
tries=0
until [ -S /run/podpace/helper.sock ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 120 ] || fail 'podpaced opens no socket'
  sleep 1
done

mkdir /tmp/cni
cat >/tmp/cni/one-address <<'END'
#!/bin/sh
[ "$CNI_COMMAND" = ADD ] || exit 0
cat >/dev/null
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1"}],"routes":[{"dst":"0.0.0.0/0"}]}'
END
chmod +x /tmp/cni/one-address
list="{\"cniVersion\":\"1.0.0\",\"name\":\"pods\",\"type\":\"podpace\",\"egressRate\":$rate,\"ipam\":{\"type\":\"one-address\"}}"
export CNI_COMMAND=ADD CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 CNI_PATH=/tmp/cni
echo "$list" | "$home/podpace" >/tmp/added || fail "ADD failed: $(cat /tmp/added)"
"$home/podpaced" status >&2 || fail 'status is not ok'

/bin/ip netns exec peer iperf3 --server --one-off --json >/tmp/report &
server=$!
sleep 1
/bin/ip netns exec pod iperf3 --client 192.0.2.2 --time "$seconds" >&2
wait "$server"
cat /tmp/report
