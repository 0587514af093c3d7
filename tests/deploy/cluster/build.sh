#!/bin/sh
# Builds Kubernetes' own programs from Debian's source package, once, into a cache folder. Six CPU-minutes the first time.
# usage: build.sh CACHE      (prints nothing but progress; CACHE/bin holds the programs)
set -eu
cache=${1:?usage: build.sh CACHE}
programs="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy"
debian_version=1.20.5+really1.20.2
version=v1.20.2
go=/usr/lib/go-1.19/bin

is_built() {
    for program in $programs; do
        [ -x "$cache/bin/$program" ] || return 1
    done
}

is_built && exit 0
work=$cache/source
mkdir -p "$cache/bin" "$work/lists/partial"

# The source lists are private to this build: the machine's own stay as they are.
cat > "$work/sources.list" <<'LIST'
deb-src http://deb.debian.org/debian bookworm main
deb-src http://deb.debian.org/debian-security bookworm-security main
LIST
set -- -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists" \
    -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache=
echo "cluster: fetching the source of Kubernetes $version"
apt-get "$@" update -qq
(cd "$work" && apt-get "$@" source -qq --download-only kubernetes)

tree=$work/tree
rm -rf "$tree"
mkdir -p "$tree/.go/src/k8s.io"
tar -C "$tree" --strip-components=1 -xf "$work/kubernetes_$debian_version.orig.tar.gz"
ln -s ../../.. "$tree/.go/src/k8s.io/kubernetes"

cat > "$work/version" <<VERSION
KUBE_GIT_COMMIT='debian'
KUBE_GIT_TREE_STATE='clean'
KUBE_GIT_VERSION='$version'
KUBE_GIT_MAJOR='1'
KUBE_GIT_MINOR='20'
VERSION

echo "cluster: building $programs"
targets=
for program in $programs; do
    targets="$targets cmd/$program"
done
cd "$tree/.go/src/k8s.io/kubernetes"
env PATH="$go:$PATH" GOPATH="$tree/.go" GOCACHE="$cache/go" GO111MODULE=off GOFLAGS= CGO_ENABLED=0 \
    KUBE_GIT_VERSION_FILE="$work/version" make WHAT="$targets" > "$work/build.log" 2>&1 || {
    tail -n 20 "$work/build.log" >&2
    echo "cluster: the build of Kubernetes failed; see $work/build.log" >&2
    exit 1
}
for program in $programs; do
    cp "$(find "$tree/_output" -type f -name "$program" -perm -u+x | head -n 1)" "$cache/bin/"
done
rm -rf "$work" "$cache/go"
echo "cluster: Kubernetes $version is in $cache/bin"
