#!/bin/sh
# Makes the images that a Dockerfile or a compose file builds on, where no registry can be reached: from Debian's own
# packages, of which the real ones consist too.
# usage: base-images.sh IMAGE ...      (inside engine.sh)
#
# A stand-in carries the label org.onnxd.stand-in, so that it is never taken for the real one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../packages.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

debian_root() {
    need debootstrap debootstrap
    if [ ! -e "$scratch/debian" ]; then
        debootstrap --variant=minbase --include=ca-certificates bookworm "$scratch/debian" > "$scratch/debootstrap.log" 2>&1 || {
            tail "$scratch/debootstrap.log" >&2
            exit 1
        }
        # A machine behind a proxy that reads TLS has certificates of its own.
        cp /etc/ssl/certs/ca-certificates.crt "$scratch/debian/etc/ssl/certs/"
        rm -rf "$scratch"/debian/var/cache/apt/archives/*.deb
    fi
}

# import IMAGE ROOT CHANGE ...: makes an image of a folder.
import() {
    image=$1
    root=$2
    shift 2
    set -- "$@" "LABEL org.onnxd.stand-in=$image"
    changes=
    for change; do
        changes="$changes --change '$change'"
    done
    eval "tar -C '$root' -c . | docker import $changes - '$image'" >/dev/null
    echo "made a stand-in for $image"
}

# extend IMAGE CHROOT_COMMAND: a Debian with more in it.
extend() {
    debian_root
    cp -a "$scratch/debian" "$scratch/extended"
    cp /etc/resolv.conf "$scratch/extended/etc/resolv.conf"
    chroot "$scratch/extended" sh -ec "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; $1; apt-get clean" > "$scratch/extend.log" 2>&1 || {
        tail "$scratch/extend.log" >&2
        exit 1
    }
}

rust() {
    extend "apt-get install -y -qq --no-install-recommends gcc libc6-dev make pkg-config git curl cmake python3"
    toolchain=$(rustc --print sysroot)
    mkdir -p "$scratch/extended/usr/local/rust" "$scratch/extended/usr/local/cargo"
    cp -a "$toolchain/bin" "$toolchain/lib" "$scratch/extended/usr/local/rust/"
    import "$1" "$scratch/extended" "ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        "ENV CARGO_HOME=/usr/local/cargo" "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
}

python() {
    extend "apt-get install -y -qq --no-install-recommends python3 python3-pip"
    import "$1" "$scratch/extended" "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
}

# The same packages as in the real one, unpacked and not installed: no shell, no package manager.
distroless() {
    debian_root
    mkdir -p "$scratch/extended" "$scratch/packages"
    cp -a "$scratch/debian/etc/apt" "$scratch/packages/etc-apt"
    chroot "$scratch/debian" sh -ec 'apt-get update -qq; cd /tmp; apt-get download -qq base-files libc6 libgcc-s1 libgomp1 libstdc++6 gcc-12-base netbase tzdata ca-certificates' >/dev/null 2>&1
    for package in "$scratch"/debian/tmp/*.deb; do
        dpkg -x "$package" "$scratch/extended"
    done
    rm -f "$scratch"/debian/tmp/*.deb
    rm -rf "$scratch"/extended/usr/share/doc "$scratch"/extended/usr/share/man
    mkdir -p "$scratch/extended/etc/ssl/certs" "$scratch/extended/home/nonroot" "$scratch/extended/tmp"
    chmod 1777 "$scratch/extended/tmp"
    cp /etc/ssl/certs/ca-certificates.crt "$scratch/extended/etc/ssl/certs/"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > "$scratch/extended/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' > "$scratch/extended/etc/group"
    chown 65532:65532 "$scratch/extended/home/nonroot"
    import "$1" "$scratch/extended" "USER 65532" "WORKDIR /home/nonroot" \
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
}

prometheus() {
    extend "apt-get install -y -qq --no-install-recommends prometheus; mkdir -p /prometheus; chown nobody /prometheus; ln -sf /usr/bin/prometheus /usr/bin/promtool /bin/ 2>/dev/null || true"
    import "$1" "$scratch/extended" "USER 65534" "WORKDIR /prometheus" "ENTRYPOINT [\"/bin/prometheus\"]" \
        "CMD [\"--config.file=/etc/prometheus/prometheus.yml\",\"--storage.tsdb.path=/prometheus\"]" "EXPOSE 9090"
}

for image; do
    docker image inspect "$image" >/dev/null 2>&1 && continue
    timeout 120 docker pull -q "$image" 2>/dev/null && continue
    case $image in
    rust:*) rust "$image" ;;
    python:*) python "$image" ;;
    *distroless/cc*) distroless "$image" ;;
    prom/prometheus:*) prometheus "$image" ;;
    *)
        echo "base-images.sh: $image can neither be pulled nor made here" >&2
        exit 1
        ;;
    esac
    rm -rf "$scratch/extended" "$scratch/packages"
done
