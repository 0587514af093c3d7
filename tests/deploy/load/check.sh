#!/bin/sh
# Runs the load scripts of benches/load for a few seconds each against a daemon of its own: their thresholds are the test.
# `make load-test` calls this.
set -eu
cd "$(dirname "$0")/../../.."
. tests/deploy/packages.sh

need curl curl
need_python benches/load/requirements/clients.txt
"${PYTHON:-python3}" .cargo/fetch-onnxruntime.py
"${CARGO:-cargo}" build --release --locked
port=${LOAD_TEST_PORT:-18000}
log=${CARGO_TARGET_DIR:-target}/deploy/load-test.log

"${CARGO_TARGET_DIR:-target}/release/onnxd" serve models --host 127.0.0.1 --port "$port" --grpc-port "$((port + 1))" --default-model iris --access-log off \
    > "$log" 2>&1 &
daemon=$!
trap 'kill $daemon 2>/dev/null || true; wait $daemon || true' EXIT
curl --silent --fail --output /dev/null --retry 50 --retry-delay 1 --retry-all-errors "http://127.0.0.1:$port/health/ready"

# The answers are what is tried here; how fast they come, on a machine that does other things too, is a bench's business.
export MAX_P99_MS=2000
"$venv/bin/k6" run --quiet -e "HTTP=http://127.0.0.1:$port" -e "GRPC=127.0.0.1:$((port + 1))" -e DURATION=5s -e "MAX_P99_MS=$MAX_P99_MS" benches/load/k6.js
echo "ok k6 keeps its thresholds"
"$venv/bin/locust" --locustfile benches/load/locustfile.py --host "http://127.0.0.1:$port" --headless --users 10 --spawn-rate 10 \
    --run-time 5s --only-summary
echo "ok locust keeps its thresholds"
# Against nobody they must fail, or they prove nothing.
kill $daemon
wait $daemon || true
if "$venv/bin/k6" run --quiet -e "HTTP=http://127.0.0.1:$port" -e "GRPC=127.0.0.1:$((port + 1))" -e DURATION=1s benches/load/k6.js >/dev/null 2>&1; then
    echo "k6 passes without a server" >&2
    exit 1
fi
if "$venv/bin/locust" --locustfile benches/load/locustfile.py --host "http://127.0.0.1:$port" --headless --users 10 --spawn-rate 10 \
    --run-time 1s --only-summary >/dev/null 2>&1; then
    echo "locust passes without a server" >&2
    exit 1
fi
echo "ok neither passes without a server"
