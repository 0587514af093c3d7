#!/bin/sh
# Deploys k8s/base to a cluster of today's Kubernetes, which kind makes and removes: Pod Security admission, policy/v1 and
# autoscaling/v2 are then real. `make kind-test` calls this, after `make image`; CI runs it, since kind needs a registry.
# usage: kind.sh IMAGE
set -eu
cd "$(dirname "$0")/../../.."
image=${1:?usage: kind.sh IMAGE}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
cluster=onnxd-test
for tool in kind kubectl docker curl; do
    command -v $tool >/dev/null || { echo "kind-test: $tool is missing: install it, or use make k8s-test" >&2; exit 1; }
done
kubectl="${KUBECTL:-kubectl --context kind-$cluster}"

kind create cluster --name $cluster --wait 120s
trap 'kind delete cluster --name $cluster' EXIT
docker tag "$image" "onnxd:$version"
printf 'FROM onnxd:%s\nLABEL org.onnxd.test=next\n' "$version" | docker build -q -t onnxd:next -
kind load docker-image "onnxd:$version" onnxd:next --name $cluster

for tag in "$version" next; do
    KUBECTL=$kubectl ROLLOUT_TIMEOUT=3m .github/release/deploy.sh "onnxd:$tag"
done
ready=$($kubectl --namespace onnxd get deployment onnxd --output jsonpath='{.status.readyReplicas}')
[ "$ready" = 3 ] || { echo "kind-test: $ready of 3 replicas are ready" >&2; exit 1; }
$kubectl --namespace onnxd exec deployment/onnxd -- /usr/local/bin/onnxd healthcheck

$kubectl --namespace onnxd port-forward service/onnxd 18080:80 >/dev/null &
forward=$!
answer=$(curl --silent --show-error --retry 20 --retry-connrefused --retry-delay 1 \
    --data '{"features":[5.1,3.5,1.4,0.2]}' http://127.0.0.1:18080/predict)
kill $forward
case $answer in
*'"predicted_class_name":"setosa"'*) echo "kind-test: rolled out twice, and the Service predicts" ;;
*)
    echo "kind-test: expected setosa, got $answer" >&2
    exit 1
    ;;
esac
