"""schemathesis tries every operation of the daemon's own /openapi.json: no 5xx, and every answer is as declared.

The seed is fixed, so that a failure comes again; the number of examples bounds the time to about half a minute.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
LIMIT_SECONDS = 300


def test_every_operation(daemon, tmp_path):
    command = [Path(sys.executable).parent / "st", "run", daemon.url + "/openapi.json"]
    command += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"]
    command += ["--seed", "1", "--max-examples", "20", "--generation-database", "none", "--continue-on-failure"]
    # Triton answers 503 where models are not loaded on demand, as the clients of it expect; the tests of tritonclient hold that.
    command += ["--exclude-path-regex", "^/v2/repository/models/[^/]+/(un)?load$"]
    # A client may ask for an answer within a millisecond, and 504 is the right answer then.
    command += ["--header", "x-request-timeout-ms: 30000", "--request-timeout", "60", "--no-color"]
    hooks = {"SCHEMATHESIS_HOOKS": "tokens", "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        command, env={**os.environ, **hooks}, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
