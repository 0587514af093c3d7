"""Holds the workflows to this project's own rules, and gives what they run to shellcheck."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def main():
    said = []
    steps = 0
    for path in map(Path, sys.argv[1:]):
        text = path.read_text()
        workflow = yaml.safe_load(text)
        said += ["{}: not pinned to a commit with its version: {}".format(path, use)
                 for use in re.findall(r"uses: (.*)", text) if not PINNED.match(use)]
        if workflow.get("permissions") != {}:
            said.append("{}: the workflow as a whole must have no permissions".format(path))
        if "concurrency" not in workflow:
            said.append("{}: no concurrency group".format(path))
        for name, job in workflow["jobs"].items():
            for key in ("timeout-minutes", "permissions"):
                if key not in job:
                    said.append("{}: job {} has no {}".format(path, name, key))
            for step in job["steps"]:
                if "run" in step:
                    steps += 1
                    said += ["{}: {}: {}".format(path, step.get("name"), line) for line in shellcheck(step["run"])]
    for line in said:
        print(line, file=sys.stderr)
    if said:
        return 1
    print("ok shellcheck has nothing to say of the {} steps that run something".format(steps))
    return 0


def shellcheck(script):
    command = ["shellcheck", "--shell", "bash", "--format", "gcc", "-"]
    done = subprocess.run(command, input=script, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
