#!/bin/sh
# Runs, with act, the jobs of the workflows that need neither GitHub nor a registry, and the scripts of the others.
# `make workflows-test` calls this. It works on what is committed.
set -eu
cd "$(dirname "$0")/../../.."
root=$PWD
. tests/deploy/packages.sh

need git git jq jq
need_python tests/deploy/requirements.txt
act=$root/$venv/bin/act
case $venv in /*) act=$venv/bin/act ;; esac
target=${CARGO_TARGET_DIR:-$root/target}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A repository as it is when a release is tagged.
git clone -q "$root" "$scratch/onnxd"
cd "$scratch/onnxd"
sed -i "s/^## Unreleased/## $version/" CHANGELOG.md
git -c user.name=test -c user.email=test@example.org commit -qam "Release $version"
git tag "v$version"
echo "{\"ref\": \"refs/tags/v$version\"}" > "$scratch/tag.json"
echo '{"ref": "refs/heads/main"}' > "$scratch/main.json"

run_job() {
    workflow=$1
    job=$2
    event=$3
    "$act" push --workflows ".github/workflows/$workflow" --job "$job" --eventpath "$scratch/$event.json" \
        --platform ubuntu-24.04=-self-hosted --env CARGO_TARGET_DIR="$target" --env GITHUB_REPOSITORY=Owner/onnxd \
        > "$scratch/act.log" 2>&1 || {
        cat "$scratch/act.log" >&2
        echo "act: job $job of $workflow failed" >&2
        exit 1
    }
    if ! grep -q "Job succeeded" "$scratch/act.log"; then
        cat "$scratch/act.log" >&2
        echo "act: job $job of $workflow did not run" >&2
        exit 1
    fi
    echo "ok act: job $job of $workflow, $(grep -c 'Success - Main' "$scratch/act.log") steps"
}

run_job release.yml check tag
run_job ci.yml deployment main

# A tag that is not the version, and a changelog that says nothing of it, end a release before it begins.
if .github/release/check-version.sh 9.9.9 2>/dev/null || .github/release/notes.sh 9.9.9 2>/dev/null; then
    echo "a release of a version that is not there was let through" >&2
    exit 1
fi
echo "ok a wrong tag ends a release"

tools=$target/tools
"$tools/bin/cargo-cyclonedx" --version >/dev/null 2>&1 ||
    CARGO_TARGET_DIR=$target/tools/build cargo install --quiet --locked --version 0.5.9 --root "$tools" cargo-cyclonedx
PATH=$tools/bin:$PATH .github/release/sbom.sh "$scratch/onnxd.cdx.json"
jq -e '.bomFormat == "CycloneDX" and ([.components[].name] | contains(["ort", "hyper", "onnxruntime"]))' \
    "$scratch/onnxd.cdx.json" >/dev/null
echo "ok the SBOM lists $(jq '.components | length' "$scratch/onnxd.cdx.json") components"
