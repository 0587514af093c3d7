#!/usr/bin/env python3
"""Measures onnxd against the floors, raw ONNX Runtime and the servers that users have today: `make bench`.

One command: builds and installs all that is missing, starts each contestant on one core with the load on another,
prints one table and writes target/bench/results.json. README.md beside this file says what the columns mean.
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import install
import load
import overload
import table
import targets
from clients import LoadFailed, NotRight
from contestants import BY_NAME, CONTESTANTS, RAW, Setup
from install import Missing, say
from models import MODELS_BY_NAME, problem_with
from paths import REPOSITORY, RESULTS, WORK
from servers import Server, StartFailed

DEFAULTS = {
    "models": list(MODELS_BY_NAME),
    "contestants": [RAW, *(contestant.name for contestant in CONTESTANTS if contestant.default)],
    "connections": [1, 8, 32, 128],
    "seconds": 5.0,
    "repeats": 3,
    "overload_seconds": 60.0,
}
QUICK = DEFAULTS | {
    "models": ["iris", "mlp"],
    "contestants": [RAW, "floor", "json-floor", "onnxd", "onnxd-quiet", "fastapi"],
    "connections": [1, 32],
    "seconds": 1.0,
    "repeats": 1,
    "overload_seconds": 5.0,
}
OVERLOAD_CONTESTANTS = ["onnxd-quiet", "fastapi", "flask", "mlserver", "mosec"]


def main():
    arguments = parse_arguments()
    # A SIGTERM must stop the servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(arguments)
    except (Missing, NotRight, StartFailed, LoadFailed) as error:
        say(f"stopped: {error}")
    except KeyboardInterrupt:
        say("interrupted; what was measured is in " + str(RESULTS))
    return 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    listed = {"metavar": "A,B,…", "type": lambda text: text.split(",")}
    parser.add_argument("--models", help="of " + ", ".join(MODELS_BY_NAME), **listed)
    parser.add_argument("--contestants", help="of " + ", ".join([RAW, *BY_NAME]), **listed)
    numbers = {"metavar": "N,N,…", "type": lambda text: [int(word) for word in text.split(",")]}
    parser.add_argument("--connections", help="keep-alive connections at a time (default 1,8,32,128)", **numbers)
    parser.add_argument("--seconds", type=float, help="length of a measurement (default 5); slow models take longer")
    parser.add_argument("--repeats", type=int, help="rounds, each with every contestant started afresh (default 3)")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute: its numbers mean nothing")
    parser.add_argument("--overload", action="store_true", help="instead: four times the capacity in an open loop")
    parser.add_argument("--overload-seconds", type=float, help="length of the overload (default 60)")
    parser.add_argument("--fresh-connections", action="store_true", help="in the overload, one for each request")
    parser.add_argument("--keep", action="store_true", help="show earlier runs' rows too; ratios never mix runs")
    parser.add_argument("--onnxd", metavar="FILE", help="measure this binary instead of building one")
    parser.add_argument("--server-core", type=int, default=0, help="core of the contestants (default 0)")
    parser.add_argument("--load-core", type=int, default=1, help="core of the load generator (default 1)")
    arguments = parser.parse_args()
    for name, value in (QUICK if arguments.quick else DEFAULTS).items():
        if getattr(arguments, name) is None:
            only = arguments.overload and name == "contestants"
            setattr(arguments, name, OVERLOAD_CONTESTANTS if only else value)
    check_names(parser, arguments)
    return arguments


def check_names(parser, arguments):
    for given, known in [(arguments.models, MODELS_BY_NAME), (arguments.contestants, {RAW, *BY_NAME})]:
        unknown = [name for name in given if name not in known]
        if unknown:
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    cores = os.sched_getaffinity(0)
    if not {arguments.server_core, arguments.load_core} <= cores or arguments.server_core == arguments.load_core:
        parser.error(f"two different cores are needed, for the server and for the load; there are {sorted(cores)}")


def run(arguments):
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    setup, skipped = set_up(arguments)
    document = {"run": started, "machine": machine(setup), "cells": [], "overload": [], "skipped": skipped}
    if arguments.keep and RESULTS.is_file():
        earlier = json.loads(RESULTS.read_text())
        document |= {"cells": earlier["cells"], "overload": earlier["overload"]}
    names = [name for name in arguments.contestants if name not in {entry["contestant"] for entry in skipped}]
    if arguments.overload:
        run_overload(arguments, setup, names, document)
    else:
        run_rounds(arguments, setup, names, document)
    report(arguments, document)
    return 1 if skipped else 0


def set_up(arguments):
    """Builds and installs; returns the setup, and the contestants that could not be installed."""
    install.find_tool("wrk")
    onnxruntime = install.fetch_onnxruntime()
    onnxd = arguments.onnxd or str(install.build_onnxd())
    install.build_contestants()
    install.make_models()
    skipped = []
    for name in arguments.contestants:
        try:
            if name != RAW:
                BY_NAME[name].prepare()
        except Missing as error:
            skip(skipped, name, None, str(error))
    return Setup(onnxd, onnxruntime, arguments.server_core, arguments.load_core), skipped


def skip(skipped, contestant, model, reason):
    say(f"SKIPPED {contestant}{f' for {model}' if model else ''}: {reason}")
    skipped.append({"contestant": contestant, "model": model, "reason": reason})


def run_rounds(arguments, setup, names, document):
    if {"floor", "json-floor"} & set(names):
        save_answers(arguments, setup)
    for round_number in range(arguments.repeats):
        # Each round begins with another contestant, so that none is always the one after a pause.
        turn = round_number % len(names)
        for model_name in arguments.models:
            cells = run_round(arguments, setup, names[turn:] + names[:turn], model_name, document["skipped"])
            document["cells"] += [cell | {"run": document["run"], "round": round_number} for cell in cells]
            write(document)


def run_round(arguments, setup, names, model_name, skipped):
    """Starts every contestant for one model, and measures them in turn at each number of connections."""
    model, cells = MODELS_BY_NAME[model_name], []
    if RAW in names:
        say(f"{model_name}: raw")
        cells += load.measure_raw(model, setup, arguments.seconds, [1, 8, 32] if arguments.quick else None)
    with ExitStack() as stack:
        servers = []
        for name in [name for name in names if name != RAW]:
            server = stack.enter_context(Server(BY_NAME[name], model, setup))
            try:
                servers.append(server.wait_until_right())
            except StartFailed as error:
                server.stop()
                skip(skipped, name, model_name, str(error))
        for connections in sorted(arguments.connections):
            for server in servers:
                say(f"{model_name}, {connections} connections: {server.name}")
                cells.append(load.measure(server, connections, arguments.seconds))
    return cells


def save_answers(arguments, setup):
    """Keeps onnxd's own answers: the floors answer the same bytes, or the same form."""
    folder = WORK / "answers"
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.models:
        with Server(BY_NAME["onnxd-quiet"], MODELS_BY_NAME[name], setup) as server:
            answer = server.wait_until_right().ask()
            assert problem_with(answer, server.model) is None
            (folder / f"{name}.json").write_bytes(answer)


def run_overload(arguments, setup, names, document):
    document["overload"] = []
    for name in [name for name in names if name != RAW]:
        say(f"overload: {name}")
        with Server(BY_NAME[name], MODELS_BY_NAME[overload.MODEL], setup) as server:
            try:
                server.wait_until_right()
            except StartFailed as error:
                skip(document["skipped"], name, overload.MODEL, str(error))
                continue
            keep_alive = not arguments.fresh_connections
            row = overload.measure(server, arguments.overload_seconds, arguments.seconds, keep_alive)
        document["overload"].append(row | {"run": document["run"]})
        write(document)


def report(arguments, document):
    results = table.Results(document["cells"])
    sections = [table.lines_of(results)] if results.by_row else []
    asked = targets.targets_of(results) if results.by_row else []
    if document["overload"]:
        sections.append(overload.lines_of(document["overload"]))
        asked += overload.targets_of(document["overload"])
    sections.append(targets.lines_of(asked))
    for lines in sections:
        print("\n" + "\n".join(lines))
    for entry in document["skipped"]:
        print(f"\nSKIPPED {entry['contestant']} {entry['model'] or ''}: {entry['reason']}")
    if arguments.quick:
        print("\nA quick run: too short for its numbers to mean anything.")
    print(f"\n{RESULTS}")


def write(document):
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    scratch = RESULTS.with_suffix(".part")
    scratch.write_text(json.dumps(document, indent=1))
    scratch.replace(RESULTS)


def machine(setup):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True)
    found = {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "commit": commit.stdout.strip()}
    return found | setup._asdict()


if __name__ == "__main__":
    sys.exit(main())
