"""Says in the words of Kubernetes 1.20, which can be built from source here, what the manifests say in those of today.

`make manifests` holds the words of today against their schemas. As a program: kubectl, with what it applies translated.
"""

import subprocess
import sys

import yaml

VERSIONS = {"autoscaling/v2": "autoscaling/v2beta2", "policy/v1": "policy/v1beta1"}


def translated(text):
    return yaml.safe_dump_all([in_older_words(resource) for resource in yaml.safe_load_all(text)])


def in_older_words(resource):
    resource["apiVersion"] = VERSIONS.get(resource["apiVersion"], resource["apiVersion"])
    if resource["kind"] == "PodDisruptionBudget":
        del resource["spec"]["unhealthyPodEvictionPolicy"]
    if resource["kind"] == "Deployment":
        for constraint in resource["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            del constraint["matchLabelKeys"]
    return resource


def main():
    kubectl, *arguments = ["kubectl", *sys.argv[1:]]
    if arguments[0] != "apply":
        return subprocess.call([kubectl, *arguments])
    place = arguments.index("--filename") + 1
    with open(arguments[place], encoding="utf-8") as file:
        text = translated(file.read())
    arguments[place] = "-"
    return subprocess.run([kubectl, *arguments], input=text, text=True).returncode


if __name__ == "__main__":
    sys.exit(main())
