# Sourced by the scripts beside it: installs what a script needs where it may, and names it where it may not.
# shellcheck shell=sh disable=SC2034  # what is set here is for the script that sources it

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# need COMMAND PACKAGE ...: installs the packages whose commands are missing; a path may stand for a command.
need() {
    missing=
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || [ -e "$1" ] || missing="$missing $2"
        shift 2
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null || ! as_root true 2>/dev/null; then
        echo "these are missing and cannot be installed from here:$missing" >&2
        exit 1
    fi
    echo "installing$missing"
    as_root apt-get update -qq
    # shellcheck disable=SC2086  # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# fetch_newer FOLDER PACKAGE ...: unpacks packages of a newer Debian into FOLDER/PACKAGE, without installing them.
fetch_newer() {
    folder=$1
    shift
    packages=$*
    mkdir -p "$folder/lists/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" > "$folder/sources.list"
    set -- -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$folder/lists" \
        -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache= -o APT::Sandbox::User=root
    apt-get "$@" update -qq
    for package in $packages; do
        (cd "$folder" && apt-get "$@" download -qq "$package" && dpkg -x "$package"_*.deb "$package" && rm "$package"_*.deb)
    done
    rm -rf "$folder/lists" "$folder/sources.list"
}

# need_kubectl: finds kubectl, or takes it out of a newer Debian's package.
need_kubectl() {
    command -v kubectl >/dev/null && return 0
    tools=$HOME/.cache/onnxd-tools
    [ -x "$tools/kubectl/usr/bin/kubectl" ] || fetch_newer "$tools" kubectl
    PATH=$tools/kubectl/usr/bin:$PATH
    export PATH
}

# need_python FILE: makes a virtual environment with the pinned packages of FILE, once, and sets `python` to its interpreter.
need_python() {
    requirements=$1
    venv=${CARGO_TARGET_DIR:-target}/deploy/venv-$(basename "$requirements" .txt)
    if ! cmp -s "$requirements" "$venv/requirements.txt"; then
        "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || need /usr/share/doc/python3-venv python3-venv
        "${PYTHON:-python3}" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
        cp "$requirements" "$venv/requirements.txt"
    fi
    python=$venv/bin/python
}

# need_node: installs the pinned packages of package.json, once, and sets `node_modules` to their folder.
need_node() {
    need npm npm
    folder=${CARGO_TARGET_DIR:-target}/deploy/node
    if ! cmp -s tests/deploy/package-lock.json "$folder/package-lock.json" || [ ! -d "$folder/node_modules" ]; then
        mkdir -p "$folder"
        cp tests/deploy/package.json tests/deploy/package-lock.json "$folder/"
        # Their types and programs are used, which run on older releases of Node than they ask for.
        npm ci --prefix "$folder" --silent --no-audit --no-fund
    fi
    node_modules=$folder/node_modules
}
