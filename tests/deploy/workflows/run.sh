#!/bin/sh
# Rehearses the workflows with act: runs every step that can run without GitHub and without the registries of others, and
# lists the rest with the reason. A registry of one's own takes the place of GitHub's. `make workflows-test` calls this,
# after `make image`. It works on what is committed.
# usage: run.sh IMAGE      (CI_STAGES="lint test" has the step `make ci` run more than its quick stages)
set -eu
cd "$(dirname "$0")/../../.."
root=$PWD
image=${1:?usage: run.sh IMAGE}
here=tests/deploy/workflows
. tests/deploy/packages.sh

if [ "$(id -u)" -ne 0 ]; then
    echo "workflows-test: a network of one's own needs root; run it as root, or in a virtual machine" >&2
    exit 1
fi
need git git jq jq openssl openssl perl perl unshare util-linux
need_python tests/deploy/requirements.txt
case $venv in /*) ;; *) venv=$root/$venv ;; esac
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
tools=$target/tools
"$tools/bin/cargo-cyclonedx" --version >/dev/null 2>&1 ||
    CARGO_TARGET_DIR=$tools/build cargo install --quiet --locked --version 0.5.9 --root "$tools" cargo-cyclonedx
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# A repository as it is when a release is tagged.
git clone -q "$root" "$scratch/onnxd"
cd "$scratch/onnxd"
sed -i "s/^## Unreleased/## $version/" CHANGELOG.md
git -c user.name=test -c user.email=test@example.org commit -qam "Release $version"
git tag "v$version"

# A tag that is not the version, and a changelog that says nothing of it, end a release before it begins.
if .github/release/check-version.sh 9.9.9 2>/dev/null || .github/release/notes.sh 9.9.9 2>/dev/null; then
    echo "a release of a version that is not there was let through" >&2
    exit 1
fi
echo "ok a wrong tag ends a release"

echo '{"ref": "refs/heads/main"}' > "$scratch/main.json"
echo "{\"ref\": \"refs/tags/v$version\"}" > "$scratch/tag.json"
mkdir "$scratch/artifacts" "$scratch/workflows"
"$venv/bin/python" $here/rehearsal.py prepare "$scratch/workflows"

export ACT="$venv/bin/act" SCRATCH="$scratch" CARGO_TARGET_DIR="$target" CI_STAGES="${CI_STAGES:-manifests prometheus-test workflows-lint}"
echo "the step \`make ci\` runs the stages: $CI_STAGES"
$here/act.sh ci.yml ci main
$here/act.sh ci.yml image main
$here/release.sh "$image" "$tools"
"$venv/bin/python" $here/rehearsal.py account "$scratch"/*.log
sbom=$scratch/artifacts/release/onnxd-$version.cdx.json
jq -e '.bomFormat == "CycloneDX" and ([.components[].name] | contains(["ort", "hyper", "onnxruntime"]))' "$sbom" >/dev/null
echo "ok the SBOM lists $(jq '.components | length' "$sbom") components"
