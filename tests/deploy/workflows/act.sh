#!/bin/sh
# Runs a job of a prepared workflow, and those that it needs, with act, on this machine itself.
# usage: act.sh WORKFLOW JOB EVENT      (in the clone, with what run.sh exports; the log goes to SCRATCH/WORKFLOW-JOB.log)
set -eu
workflow=$1
job=$2
event=$3
log=$SCRATCH/$workflow-$job.log
export XDG_CACHE_HOME="$SCRATCH/cache"
if ! "$ACT" push --json --workflows "$SCRATCH/workflows/$workflow" --job "$job" --eventpath "$SCRATCH/$event.json" \
    --platform ubuntu-24.04=-self-hosted --matrix name:x86-64 --matrix platform:amd64 --concurrent-jobs 1 --no-cache-server \
    --actor Owner --env GITHUB_REPOSITORY=Owner/onnxd --secret GITHUB_TOKEN=token > "$log" 2>&1 ||
    ! grep -q '"jobResult":"success"' "$log"; then
    jq -rR '. as $line | try (fromjson | .msg) catch $line' "$log" >&2
    echo "act: job $job of $workflow failed, or did not run" >&2
    exit 1
fi
