#!/bin/sh
# Applies k8s/base with an image, waits, and goes back to what was there where it does not become ready.
# usage: deploy.sh IMAGE      (KUBECTL may name another kubectl, ROLLOUT_TIMEOUT how long to wait)
set -eu
image=${1:?usage: deploy.sh IMAGE}
kubectl=${KUBECTL:-kubectl}
timeout=${ROLLOUT_TIMEOUT:-10m}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cp -r k8s/base "$scratch/"
case $image in
*@*) new="newName: ${image%@*}
    digest: ${image#*@}" ;;
*) new="newName: ${image%:*}
    newTag: ${image##*:}" ;;
esac
# Keep the autoscaler's number of replicas; the manifest has only the number to start with.
replicas=$($kubectl --namespace onnxd get deployment onnxd --output jsonpath='{.spec.replicas}' 2>/dev/null || true)
mkdir "$scratch/release"
cat > "$scratch/release/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../base]
images:
  - name: onnxd
    $new
replicas:
  - name: onnxd
    count: ${replicas:-3}
YAML
$kubectl kustomize "$scratch/release" > "$scratch/release.yaml"
$kubectl apply --filename "$scratch/release.yaml"
if ! $kubectl --namespace onnxd rollout status deployment/onnxd --timeout "$timeout"; then
    $kubectl --namespace onnxd rollout undo deployment/onnxd
    $kubectl --namespace onnxd rollout status deployment/onnxd --timeout "$timeout"
    echo "$image did not become ready; what was there before is there again" >&2
    exit 1
fi
