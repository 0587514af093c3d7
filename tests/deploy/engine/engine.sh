#!/bin/sh
# A Docker engine of one's own, for machines that have none running. Those that have one keep theirs.
# usage: engine.sh run COMMAND ...      runs COMMAND with DOCKER_HOST and DOCKER_CONFIG set, and stops the engine after it
#        engine.sh own COMMAND ...      the same, even where another engine runs
#        engine.sh build COMMAND ...    the same for image builds, whose steps may reach the package registries
#
# `run` and `own` put the engine into a network namespace: nothing that a container does leaves the machine, and no
# firewall rule of the machine is touched. `build` leaves it on the machine's network, without bridges and without rules.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../packages.sh"
mode=${1:?usage: engine.sh run|own|build COMMAND ...}
shift

if [ "$mode" != own ] && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; then
    exec "$@"
fi

state=${ONNXD_ENGINE:-$HOME/.cache/onnxd-engine}
need docker docker.io dockerd docker.io containerd containerd runc runc iptables iptables ip iproute2
mkdir -p "$state/config/cli-plugins"
# One at a time: they share the images.
exec 9> "$state/lock"
flock 9

# Compose and buildx are not in every release of Debian.
fetch_plugins() {
    fetch_newer "$state/plugins" docker-compose docker-buildx
    find "$state/plugins" -path '*cli-plugins*' -name 'docker-*' -type f -exec cp {} "$state/config/cli-plugins/" \;
    rm -rf "$state/plugins"
}

if [ ! -x "$state/config/cli-plugins/docker-compose" ] || [ ! -x "$state/config/cli-plugins/docker-buildx" ]; then
    fetch_plugins
fi

options="--data-root $state/data --exec-root $state/exec --pidfile $state/pid --host unix://$state/socket --storage-driver overlay2"
case $mode in
build)
    enter=
    options="$options --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false"
    ;;
run | own)
    namespace=onnxd-engine-$mode
    ip netns add $namespace 2>/dev/null || true
    enter="nsenter --net=/run/netns/$namespace"
    $enter ip link set lo up
    ;;
*)
    echo "engine.sh: expected run, own or build, got $mode" >&2
    exit 64
    ;;
esac

# shellcheck disable=SC2086  # lists of words
$enter dockerd $options > "$state/dockerd.log" 2>&1 9>&- &
engine=$!
stop() {
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    if [ "$mode" != build ]; then ip netns delete "$namespace" 2>/dev/null || true; fi
}
trap stop EXIT
trap 'exit 130' INT TERM

export DOCKER_HOST="unix://$state/socket" DOCKER_CONFIG="$state/config"
waited=0
until docker info >/dev/null 2>&1; do
    waited=$((waited + 1))
    if [ $waited -gt 100 ] || ! kill -0 "$engine" 2>/dev/null; then
        tail -n 20 "$state/dockerd.log" >&2
        echo "engine.sh: the Docker engine did not start" >&2
        exit 1
    fi
    sleep 0.3
done
status=0
# What the command starts must see the containers' addresses.
# shellcheck disable=SC2086
$enter "$@" 9>&- || status=$?
exit $status
