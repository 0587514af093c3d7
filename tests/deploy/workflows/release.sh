#!/bin/sh
# Runs the release, up to its end but for the deployment, in a network of its own in which ghcr.io is a registry of ours.
# usage: release.sh IMAGE TOOLS      (in the clone, with what run.sh exports)
set -eu
here=tests/deploy/workflows
stand_ins=$PWD/$here/stand-ins
. tests/deploy/packages.sh

if [ "${3:-}" != inside ]; then
    [ -x "$SCRATCH/docker-registry/usr/bin/docker-registry" ] || fetch_newer "$SCRATCH" docker-registry
    tests/deploy/engine/engine.sh run docker save --output "$SCRATCH/image.tar" "$1"
    # Names are looked up in a file of this process's own.
    printf '127.0.0.1 localhost ghcr.io\n' > "$SCRATCH/hosts"
    export ONNXD_ENGINE="$SCRATCH/engine"
    # shellcheck disable=SC2016  # for the inner shell
    exec unshare --mount sh -c 'mount --bind "$SCRATCH/hosts" /etc/hosts && exec "$@"' sh \
        tests/deploy/engine/engine.sh own "$0" "$1" "$2" inside
fi

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=ghcr.io -addext subjectAltName=DNS:ghcr.io \
    -keyout "$SCRATCH/key.pem" -out "$SCRATCH/certificate.pem" 2>/dev/null
# shellcheck disable=SC2016  # for perl
perl -e 'print "Owner:", crypt("token", "\$2y\$05\$abcdefghijklmnopqrstuu"), "\n"' > "$SCRATCH/htpasswd"
cat > "$SCRATCH/registry.yml" <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: $SCRATCH/registry}}
auth: {htpasswd: {realm: ghcr.io, path: $SCRATCH/htpasswd}}
http: {addr: "127.0.0.1:443", tls: {certificate: $SCRATCH/certificate.pem, key: $SCRATCH/key.pem}}
YAML
"$SCRATCH/docker-registry/usr/bin/docker-registry" serve "$SCRATCH/registry.yml" > "$SCRATCH/registry.out" 2>&1 &
registry=$!
trap 'kill $registry' EXIT

export SSL_CERT_FILE="$SCRATCH/certificate.pem" ARTIFACTS="$SCRATCH/artifacts" BUILT_IMAGE="$1"
export CARGO_INSTALL_ROOT="$2" CARGO_NET_OFFLINE=true PATH="$stand_ins:$2/bin:$PATH"
docker load --quiet --input "$SCRATCH/image.tar" >/dev/null
waited=0
until printf 'token' | docker login ghcr.io --username Owner --password-stdin > "$SCRATCH/login.out" 2>&1; do
    waited=$((waited + 1))
    if [ $waited -gt 50 ]; then
        cat "$SCRATCH/login.out" "$SCRATCH/registry.out" >&2
        echo "release.sh: the registry did not start" >&2
        exit 1
    fi
    sleep 0.2
done

# In place of the job that the matrix has for the other platform.
mkdir "$ARTIFACTS/digest-arm64"
arm64=ghcr.io/owner/onnxd:arm64
printf 'FROM scratch\nCOPY LICENSE-MIT /\n' | docker build --quiet --platform linux/arm64 --tag $arm64 --file - . >/dev/null
docker push --quiet $arm64 >/dev/null
docker image inspect --format '{{index .RepoDigests 0}}' $arm64 | cut -d @ -f 2 > "$ARTIFACTS/digest-arm64/arm64"
docker logout ghcr.io >/dev/null

$here/act.sh release.yml publish tag
