"""Validates what `kubectl apply -k` would send. `check.sh` prepares what this needs."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "deploy"))
import checks  # noqa: E402
import kserve_types  # noqa: E402
import operator_types  # noqa: E402
import restricted  # noqa: E402

K8S = ROOT / "k8s"
FOLDERS = ["base", "overlays/models-volume", "overlays/saturation", "monitoring", "kserve"]
# The newest that the schemas are there for, and the oldest that still gets fixes from Kubernetes.
VERSIONS = ["1.37", "1.34"]
DEFAULT_GRACE_PERIOD_SECONDS = 30


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubectl", required=True)
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--kserve", type=Path, required=True)
    arguments = parser.parse_args()
    built = {folder: build(arguments.kubectl, folder) for folder in FOLDERS}
    sample = list(yaml.safe_load_all((K8S / "kserve" / "inference-service.yaml").read_text()))
    everything = [resource for resources in built.values() for resource in resources] + sample
    return checks.run(
        [
            ("every resource is one that Kubernetes knows, to the last field", lambda: validate_core(everything)),
            ("and one that the Prometheus operator knows", lambda: operator_types.validate(everything, arguments.node_modules)),
            ("and one that KServe knows", lambda: kserve_types.validate(everything, arguments.kserve)),
            ("every pod passes the restricted profile", lambda: restricted.validate(everything)),
            ("the operator's rules are Prometheus' rules", lambda: rules_are_the_same(built["monitoring"])),
            ("the images are of the version in Cargo.toml", lambda: images_are_of_this_version(everything)),
            ("there is time to drain before a pod is killed", lambda: there_is_time_to_drain(built)),
            ("an InferenceService may choose KServe's port", lambda: runtime_leaves_the_port_open(built["kserve"])),
            ("every setting is one that onnxd has", lambda: settings_exist(everything)),
            ("selectors, budget and policy mean the Deployment's pods", lambda: selectors_agree(built["base"])),
        ]
    )


def build(kubectl, folder):
    done = subprocess.run([kubectl, "kustomize", str(K8S / folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0 or done.stderr:
        sys.exit("kubectl kustomize k8s/{}: {}".format(folder, done.stderr.strip()))
    return list(yaml.safe_load_all(done.stdout))


def is_core(resource):
    group = resource["apiVersion"].rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def validate_core(resources):
    core = [resource for resource in resources if is_core(resource)]
    for resource in core:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise AssertionError("{} {}: {}".format(resource["kind"], resource["metadata"]["name"], error)) from None
    # A validator that lets everything through would say the same.
    misspelt = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [], "dnsPolice": "x"}}
    try:
        kubernetes_validate.validate(misspelt, VERSIONS[0], strict=True)
    except kubernetes_validate.ValidationError:
        return "{} resources, Kubernetes {}".format(len(core), " and ".join(VERSIONS))
    raise AssertionError("a misspelt field was not noticed")


def rules_are_the_same(monitoring):
    (rule,) = [resource for resource in monitoring if resource["kind"] == "PrometheusRule"]
    assert rule["spec"] == yaml.safe_load((K8S / "monitoring" / "rules" / "onnxd.yml").read_text())


def pod_specs(resources):
    for resource in resources:
        if resource["kind"] == "Deployment":
            yield resource["spec"]["template"]["spec"]
        elif resource["kind"] == "ClusterServingRuntime":
            yield resource["spec"]


def images_are_of_this_version(resources):
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    images = {container["image"] for spec in pod_specs(resources) for container in spec["containers"]}
    assert images == {"onnxd:" + version}, images


def there_is_time_to_drain(built):
    for folder in ["base", "overlays/models-volume", "overlays/saturation"]:
        (settings,) = [resource["data"] for resource in built[folder] if resource["kind"] == "ConfigMap"]
        (spec,) = pod_specs(built[folder])
        assert spec["terminationGracePeriodSeconds"] > time_to_drain(settings), folder
    # A ServingRuntime cannot say how long its pods have.
    (spec,) = pod_specs(built["kserve"])
    settings = {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
    assert DEFAULT_GRACE_PERIOD_SECONDS > time_to_drain(settings), settings


def time_to_drain(settings):
    return seconds(settings["ONNXD_DRAIN_DELAY"]) + seconds(settings["ONNXD_SHUTDOWN_GRACE"])


def runtime_leaves_the_port_open(runtime):
    """KServe lays the ports that an InferenceService names beside those of the runtime, and Knative refuses two."""
    (spec,) = pod_specs(runtime)
    ports = [container["ports"] for container in spec["containers"] if "ports" in container]
    assert not ports, ports


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text).group(1))


def settings_exist(resources):
    source = "".join(path.read_text() for path in [ROOT / "src" / "config.rs", *(ROOT / "src" / "config").glob("*.rs")])
    known, flags = set(re.findall(r'env = "(\w+)"', source)), help_flags(source)
    names = {name for resource in resources if resource["kind"] == "ConfigMap" for name in resource["data"] if name.isupper()}
    for spec in pod_specs(resources):
        for container in spec["containers"]:
            names |= {variable["name"] for variable in container.get("env", [])}
            given = {argument.split("=")[0][2:] for argument in container["args"] if argument.startswith("--")}
            assert given <= flags, given - flags
    assert names and names <= known, names - known


def help_flags(source):
    """Lists the flags: named after their field unless they say otherwise."""
    named = set(re.findall(r'long = "([a-z-]+)"', source))
    fields = re.findall(r"#\[arg\(long[,)].*?\n\s+pub (\w+):", source, re.DOTALL)
    return named | {field.replace("_", "-") for field in fields}


def selectors_agree(base):
    (deployment,) = [resource for resource in base if resource["kind"] == "Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    for resource in base:
        spec = resource.get("spec", {})
        for field in ("selector", "podSelector"):
            if field in spec:
                wanted = spec[field].get("matchLabels", spec[field])
                # An empty selector means every pod, or none, depending on the kind and its version.
                assert wanted and wanted.items() <= labels.items(), (resource["kind"], wanted)
        if resource["kind"] == "Service":
            assert {port["targetPort"] for port in spec["ports"]} <= ports, spec["ports"]
        if resource["kind"] == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


if __name__ == "__main__":
    sys.exit(main())
