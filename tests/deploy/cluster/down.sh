#!/bin/sh
# Ends what up.sh started, by its pid files, and removes what it left.
# usage: down.sh STATE
set -u
cd "${1:?usage: down.sh STATE}" || exit 1
state=$PWD

end() {
    signal=$1
    shift
    for name; do
        [ -f "$name.pid" ] && kill "-$signal" "$(cat "$name.pid")" 2>/dev/null
    done
    sleep 1
}

end TERM proxy kubelet scheduler controller-manager
ctr="ctr -a $state/containerd.sock -n k8s.io"
for task in $($ctr tasks list -q 2>/dev/null); do
    $ctr tasks kill -s KILL "$task" 2>/dev/null
done
sleep 1
for container in $($ctr containers list -q 2>/dev/null); do
    $ctr tasks rm -f "$container" 2>/dev/null
    $ctr containers rm "$container" 2>/dev/null
done
end KILL apiserver etcd containerd
for path in /run/netns/cni-*; do
    [ -e "$path" ] || continue
    grep -qx "${path##*/}" namespaces-before || ip netns delete "${path##*/}"
done
ip netns delete onnxd-kube 2>/dev/null
find /var/lib/cni/results -newer namespaces-before \( -name 'onnxd-kube-*' -o -name 'cni-loopback-*' \) -delete 2>/dev/null
# What was mounted for the pods, the innermost first.
grep -o "$state/[^ ]*" /proc/mounts | sort -r | xargs -r -n1 umount 2>/dev/null
cd / && rm -rf "$state"
