#!/bin/sh
# Tries prometheus.yml, the rules and the dashboard without a server. `make prometheus-test` calls this.
set -eu
cd "$(dirname "$0")/../../.."
. tests/deploy/packages.sh

need promtool prometheus
need_python tests/deploy/requirements.txt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# As docker-compose.yml mounts them.
cp prometheus.yml "$scratch/"
cp -r k8s/monitoring/rules "$scratch/"
promtool check config --lint=all --lint-fatal "$scratch/prometheus.yml"
promtool test rules tests/deploy/prometheus/rules_test.yml
"$python" tests/deploy/prometheus/check.py
