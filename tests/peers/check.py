"""Starts the daemon once and lets each peer try it; `run.sh` prepares what this needs."""

import argparse
import sys
import traceback
from pathlib import Path

import docs_page
import metrics_text
import openapi
from daemon import Daemon


def main():
    arguments = parse_arguments()
    with Daemon(arguments.daemon, arguments.models, arguments.output / "onnxd.log") as daemon:
        checks = [
            ("promtool accepts /metrics", lambda: metrics_text.check(daemon.url)),
            ("openapi-spec-validator accepts /openapi.json", lambda: openapi.check(daemon.url)),
            (
                "a browser tries a prediction on /docs",
                lambda: docs_page.check(daemon.url, arguments.browser, arguments.output / "docs.png"),
            ),
            ("SIGTERM stops the daemon with exit status 0", daemon.stop),
        ]
        failed = sum(not passes(name, check) for name, check in checks)
    if failed:
        print("the daemon's log: {}".format(daemon.log_path))
    print("{} passed, {} failed".format(len(checks) - failed, failed))
    return 1 if failed else 0


def passes(name, check):
    try:
        check()
    except AssertionError as error:
        print("FAILED {}: {}".format(name, error))
    except Exception:  # one peer's trouble must not hide what the others found
        print("FAILED {}".format(name))
        traceback.print_exc(file=sys.stdout)
    else:
        print("ok {}".format(name))
        return True
    return False


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--browser", required=True)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
