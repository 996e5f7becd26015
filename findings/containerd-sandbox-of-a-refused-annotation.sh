#!/bin/sh
# containerd 1.6.20 (Debian 12): a pod whose bandwidth annotation is below 1k can never be stopped nor removed.
#
# `kubernetes.io/egress-bandwidth: "500"` is a valid quantity. containerd refuses it in RunPodSandbox, before any CNI
# plugin runs. Then it takes the sandbox down again, for which it reads the annotation anew, fails in the same way, and
# keeps the sandbox for the kubelet to stop. StopPodSandbox and RemovePodSandbox read the annotation too
# (toCNIBandWidth, pkg/cri/server/sandbox_run.go): they fail each time, also after a restart. So it is with values above
# 1P and misspelled ones ("10mb"). Sandbox and network namespace stay, and the pod goes only by force. containerd 2.1.9
# (sid) refuses all of these, too, and forgets the sandbox at once.
#
# A sandbox with "10M" is asked for first. It cannot run either, since the image has no program in it; but containerd
# forgets it.
#
# Needs root, apt-get, iproute2 and a curl with HTTP/2. Leaves nothing behind.
set -eu
VERSION=1.6.20~ds1-1+deb12u3
folder=$(mktemp -d)
trap 'rm -rf "$folder"; find /sys/fs/cgroup -maxdepth 2 -name containerd-finding -exec rmdir {} +' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download "containerd=$VERSION" runc=1.1.5+ds1-1+deb12u1 \
  containernetworking-plugins=1.1.1+ds1-3+b5
for package in *.deb; do dpkg-deb --extract "$package" tree; done
mkdir -p net.d layout/blobs/sha256 root
cat > net.d/10-pods.conflist <<'END'
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.99.0.0/24", "dataDir": "/run/host-local"}},
  {"type": "bandwidth", "capabilities": {"bandwidth": true}}]}
END
cat > config.toml <<END
version = 2
root = "$folder/root"
state = "/run/containerd-finding"
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/empty:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$folder/tree/usr/lib/cni"
  conf_dir = "$folder/net.d"
END
# An image with nothing in it: moves $1 into its place, and prints how others name it.
blob() {
  digest=$(sha256sum "$1" | cut -d ' ' -f 1)
  printf '{"mediaType": "application/vnd.oci.image.%s", "digest": "sha256:%s", "size": %d%s}' "$2" "$digest" \
    "$(wc -c <"$1")" "${3:-}"
  mv "$1" "layout/blobs/sha256/$digest"
}
tar --create --file layer --files-from /dev/null
architecture=$(dpkg --print-architecture)
printf '{"architecture": "%s", "os": "linux", "config": {"Entrypoint": ["/none"]},' "$architecture" >config
printf '"rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}}' "$(sha256sum layer | cut -d ' ' -f 1)" >>config
printf '{"schemaVersion": 2, "config": %s, "layers": [%s]}' "$(blob config config.v1+json)" \
  "$(blob layer layer.v1.tar)" >manifest
printf '{"schemaVersion": 2, "manifests": [%s]}' \
  "$(blob manifest manifest.v1+json ', "annotations": {"io.containerd.image.name": "localhost/empty:1"}')" \
  >layout/index.json
echo '{"imageLayoutVersion": "1.0.0"}' >layout/oci-layout
tar --create --file image.tar --directory layout .
cat > in-namespaces.sh <<'END'
set -eu
mount -t tmpfs tmpfs /run
ip link set lo up
start() {
  : >log
  containerd --config config.toml >>log 2>&1 &
  daemon=$!
  until grep -q 'successfully booted' log; do sleep 0.1; done
}
# A CRI call by gRPC; prints what it says, and leaves the answer in the file `answer`.
cri() {
  printf "\\000\\000\\000\\000\\$(printf %03o "$(wc -c <message)")" | cat - message |
    curl -s --http2-prior-knowledge --unix-socket /run/containerd.sock -H 'content-type: application/grpc' \
      -H 'te: trailers' --data-binary @- -D headers -o answer "http://localhost/runtime.v1.RuntimeService/$1"
  said=$(tr -d '\r' <headers | sed -n 's/^grpc-message: //p' | grep -o 'resource is .*' || true)
  echo "$1: $(tr -d '\r' <headers | sed -n 's/^grpc-status: //p') $said"
}
# One field of a message: its number and kind, then what is in it, from the input.
field() {
  cat >"part$1"
  printf "\\$1\\$(printf %03o "$(wc -c <"part$1")")"
  cat "part$1"
}
# RunPodSandboxRequest for a pod with that annotation.
run() {
  {
    { printf pod | field 012; printf "uid-$1" | field 022; printf default | field 032; } >metadata
    { printf kubernetes.io/egress-bandwidth | field 012; printf "$1" | field 022; } >annotation
    printf /containerd-finding | field 012 >cgroup
    { field 012 <metadata; field 072 <annotation; field 102 <cgroup; } >pod
    field 012 <pod
  } >message
  cri RunPodSandbox
}
count() {
  : >message
  cri ListPodSandbox >/dev/null
  grep -c uid- -a answer || true
}
start
ctr --address /run/containerd.sock --namespace k8s.io images import image.tar >/dev/null
run 10M >/dev/null
echo "sandboxes after 10M: $(count)"
run 500
echo "sandboxes after 500: $(count)"
id=$(grep -aoE '[0-9a-f]{64}' answer | head -n 1)
tries() {
  for call in StopPodSandbox RemovePodSandbox; do
    printf "\\012\\100$id" >message
    cri $call
  done
  echo "sandboxes: $(count)"
}
tries
kill $daemon
wait $daemon || true
start
tries
END
seen=$(PATH="$folder/tree/usr/bin:$folder/tree/usr/sbin:$PATH" \
  unshare --net --mount --pid --fork --kill-child --mount-proc sh in-namespaces.sh)
echo "containerd $VERSION:"
echo "$seen"
refused='2 resource is unreasonably small (< 1kbit)'
kept="StopPodSandbox: $refused
RemovePodSandbox: $refused
sandboxes: 1"
[ "$seen" = "sandboxes after 10M: 0
RunPodSandbox: $refused
sandboxes after 500: 1
$kept
$kept" ]
