"""Makes the workflows such that act can run them on this machine, and says afterwards which steps ran and which did not.

    rehearsal.py prepare FOLDER     writes the workflows into FOLDER, as act can run them
    rehearsal.py account LOG ...    reads what act wrote with --json, and fails where a step was left out without a reason

What GitHub does itself has a stand-in in `stand-ins/`. A step that cannot run here is in NOT_HERE, with the reason; every
other one must have run.
"""

import json
import sys
from pathlib import Path

from ruamel.yaml import YAML

WORKFLOWS = Path(".github", "workflows")
STAND_INS = "./tests/deploy/workflows/stand-ins/"
# act does this one itself: the clone is the checkout.
CHECK_OUT = "actions/checkout@"

BUILD = ("release.yml", "build", "Build the image, with its SBOM and provenance")
NOT_HERE = {
    ("ci.yml", "image", "make kind-test"): "kind takes its node from a registry; `make k8s-test` rolls the same manifests out",
    BUILD: "BuildKit and its SBOM scanner come from a registry; what `make image` built is pushed instead",
    ("release.yml", "deploy", "Roll it out, or back"): "needs a cluster; `make k8s-test` runs this very step in its own",
}
# For the steps after them, what the above would have left.
INSTEAD = {
    BUILD: """
        docker tag "$BUILT_IMAGE" "$IMAGE:under-test"
        docker push --quiet "$IMAGE:under-test"
        mkdir -p dist digests
        docker image inspect --format '{{index .RepoDigests 0}}' "$IMAGE:under-test" | cut -d @ -f 2 > "digests/$PLATFORM"
        """,
}

yaml = YAML()
yaml.width = 1000


def main():
    command, *paths = sys.argv[1:]
    workflows = {path.name: yaml.load(path) for path in sorted(WORKFLOWS.glob("*.yml"))}
    if command == "prepare":
        (folder,) = paths
        for name, workflow in workflows.items():
            prepare(name, workflow)
            yaml.dump(workflow, Path(folder, name))
        return 0
    return account(workflows, paths)


def steps(workflows):
    """Yields the steps with their names in full: workflow, job, step."""
    for name, workflow in workflows.items():
        for job_name, job in workflow["jobs"].items():
            for step in job["steps"]:
                yield (name, job_name, step["name"]), step


def prepare(name, workflow):
    for step_name, step in steps({name: workflow}):
        if step_name in NOT_HERE:
            step["run"] = INSTEAD.get(step_name, "true")
        elif not step.get("uses", CHECK_OUT).startswith(CHECK_OUT):
            step["uses"] = STAND_INS + step["uses"].partition("@")[0].rpartition("/")[2]


def account(workflows, logs):
    ran = {step for log in logs for step in succeeded(log)}
    to_run = [step_name for step_name, step in steps(workflows) if "run" in step]
    gone = set(NOT_HERE) - set(to_run)
    left_out = [step_name for step_name in to_run if step_name not in ran and step_name not in NOT_HERE]
    for step_name in to_run:
        if step_name in NOT_HERE:
            print("not run here: {}: {}".format(" / ".join(step_name), NOT_HERE[step_name]))
        elif step_name in ran:
            print("ok act: {}".format(" / ".join(step_name)))
    for step_name in left_out:
        print("not run, and nobody says why: {}".format(" / ".join(step_name)), file=sys.stderr)
    for step_name in gone:
        print("not run, and no longer there: {}".format(" / ".join(step_name)), file=sys.stderr)
    print("{} of {} steps ran".format(len(to_run) - len(NOT_HERE) - len(left_out), len(to_run)))
    return 1 if left_out or gone else 0


def succeeded(log):
    """Yields what act says that it did, of the workflow that the log is named after."""
    path = Path(log)
    for line in path.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("stage") == "Main" and event.get("stepResult") == "success" and len(event["stepID"]) == 1:
            yield path.name.partition("-")[0], event["jobID"], event["step"]


if __name__ == "__main__":
    sys.exit(main())
