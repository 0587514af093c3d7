#!/bin/sh
# Deploys k8s/base to a real one-node cluster and tries what a cluster does to it. `make k8s-test` calls this, after
# `make image`. As root. The first run builds Kubernetes, which takes six CPU-minutes; the programs stay in a cache.
# usage: check.sh IMAGE
set -eu
cd "$(dirname "$0")/../../.."
image=${1:?usage: check.sh IMAGE}
here=tests/deploy/cluster
. tests/deploy/packages.sh

if [ "$(id -u)" -ne 0 ]; then
    echo "k8s-test: a node of one's own needs root; run it as root, or in a virtual machine" >&2
    exit 1
fi
need containerd containerd runc runc /usr/lib/cni/bridge containernetworking-plugins conntrack conntrack iptables iptables \
    ip iproute2 etcd etcd-server gcc gcc openssl openssl nsenter util-linux
need_kubectl
need_python tests/deploy/requirements.txt
cache=${ONNXD_KUBE_CACHE:-$HOME/.cache/onnxd-kube}
[ -x "$cache/bin/kubelet" ] || need rsync rsync make make /usr/lib/go-1.19/bin/go golang-1.19-go
$here/build.sh "$cache"

state=$(mktemp -d /var/tmp/onnxd-kube.XXXXXX)
trap '$here/down.sh "$state/node"; rm -rf "$state"' EXIT
trap 'exit 130' INT TERM
tests/deploy/engine/engine.sh run $here/save-images.sh "$image" "$state/images.tar"
$here/up.sh "$cache/bin" "$state/node"
ctr="ctr -a $state/node/containerd.sock -n k8s.io"
$ctr images import "$state/images.tar" >/dev/null
rm "$state/images.tar"
# As a registry would, containerd then knows the two by their digests too.
digests=
for tag in next broken; do
    digest=$($ctr images ls "name==docker.io/library/onnxd:$tag" | awk 'NR == 2 { print $3 }')
    $ctr images tag "docker.io/library/onnxd:$tag" "docker.io/library/onnxd@$digest" >/dev/null
    digests="$digests${digests:+, }\"$tag\": \"$digest\""
done
"$python" $here/check.py --kubectl "$state/node/kubectl" --enter "$state/node/enter" --kubeconfig "$state/node/kubeconfig" \
    --digests "{$digests}"
