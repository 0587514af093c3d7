#!/bin/sh
# Prints what CHANGELOG.md says of a version; fails where it says nothing.
# usage: notes.sh VERSION
set -eu
version=${1:?usage: notes.sh VERSION}
notes=$(awk -v version="$version" '
    /^## / { inside = ($2 == version || $2 == "[" version "]"); next }
    inside
' CHANGELOG.md)
if [ -z "$(printf '%s' "$notes" | tr -d '[:space:]')" ]; then
    echo "CHANGELOG.md has no section \"## $version\", or nothing in it" >&2
    exit 1
fi
printf '%s\n' "$notes"
