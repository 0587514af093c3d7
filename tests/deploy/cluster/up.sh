#!/bin/sh
# Starts a one-node Kubernetes in a network namespace of its own: nothing in it can leave the machine. As root.
# usage: up.sh BIN STATE      (BIN: what build.sh built; STATE: a folder that may be thrown away; down.sh ends it)
#
# Afterwards STATE/kubectl runs kubectl in there, and STATE/enter any other command.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:?usage: up.sh BIN STATE}" && pwd)
mkdir -p "${2:?usage: up.sh BIN STATE}"
cd "$2"
state=$PWD
namespace=onnxd-kube
kubectl=$(command -v kubectl)
node=10.99.0.1

# `ip netns exec` would hide the cgroups.
cat > enter <<SH
#!/bin/sh
exec nsenter --net=/run/netns/$namespace "\$@"
SH
cat > kubectl <<SH
#!/bin/sh
exec nsenter --net=/run/netns/$namespace $kubectl --kubeconfig $state/kubeconfig "\$@"
SH
chmod +x enter kubectl

# A bridge that is up and a route that leads nowhere: the programs look for the machine's address.
ip netns add $namespace
./enter ip link set lo up
./enter ip link add node0 type bridge
./enter ip link add node1 type veth peer name node2
./enter ip link set node1 master node0 up
./enter ip link set node2 up
./enter ip addr add $node/24 dev node0
./enter ip link set node0 up
./enter ip route replace default via 10.99.0.254 dev node0 onlink
./enter sysctl -qw net.ipv4.ip_forward=1

run() {
    name=$1
    shift
    ./enter "$@" > "$name.log" 2>&1 &
    echo $! > "$name.pid"
}

openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
token=$(openssl rand -hex 16)
echo "$token,admin,admin,system:masters" > tokens.csv
cat > kubeconfig <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: a, user: {token: $token}}]
contexts: [{name: x, context: {cluster: c, user: a}}]
current-context: x
YAML
cat > kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failSwapOn: false
clusterDomain: cluster.local
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
# The images are here once: none is cleared away because the disk is rather full.
imageGCHighThresholdPercent: 100
enforceNodeAllocatable: []
cgroupsPerQOS: true
maxOpenFiles: 20000
fileCheckFrequency: 5s
syncFrequency: 5s
resolvConf: ""
YAML
sed "s|@STATE@|$state|g" "$here/containerd.toml.in" > containerd.toml
mkdir cni
sed "s|@STATE@|$state|g" "$here/network.conflist.in" > cni/network.conflist
# down.sh removes the namespaces that are there only since then.
ls /run/netns 2>/dev/null > namespaces-before || true

run etcd etcd --data-dir etcd-data --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
run apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --advertise-address=$node \
    --secure-port=6443 --cert-dir=certs --service-cluster-ip-range=10.96.0.0/16 \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=sa.pub \
    --service-account-signing-key-file=sa.key --token-auth-file=tokens.csv --authorization-mode=RBAC \
    --allow-privileged=true --kubelet-preferred-address-types=InternalIP
run containerd containerd -c containerd.toml

waited=0
until ./kubectl get --raw /readyz >/dev/null 2>&1; do
    waited=$((waited + 1))
    if [ $waited -gt 200 ]; then
        tail -n 20 apiserver.log >&2
        echo "up.sh: the API server did not become ready" >&2
        exit 1
    fi
    sleep 0.3
done
run controller-manager "$bin/kube-controller-manager" --kubeconfig=kubeconfig --service-account-private-key-file=sa.key \
    --controllers='*,-nodeipam,-cloud-node-lifecycle' --use-service-account-credentials=false --leader-elect=false \
    --root-ca-file=certs/apiserver.crt
run scheduler "$bin/kube-scheduler" --kubeconfig=kubeconfig --leader-elect=false
run kubelet "$bin/kubelet" --config kubelet.yaml --kubeconfig kubeconfig --hostname-override=node1 --node-ip=$node \
    --root-dir="$state/kubelet" --container-runtime=remote --container-runtime-endpoint="unix://$state/containerd.sock"
run proxy "$bin/kube-proxy" --kubeconfig=kubeconfig --hostname-override=node1 --cluster-cidr=10.244.0.0/24 \
    --proxy-mode=iptables --conntrack-max-per-core=0 --conntrack-min=0

# The container that holds a pod's network waits for ever, and nothing more.
mkdir -p pause
gcc -static -O1 -o pause/pause "$here/pause.c"
"$here/image-of-file.py" pause/pause localhost/pause:1 > pause.tar
ctr -a "$state/containerd.sock" -n k8s.io images import pause.tar >/dev/null
