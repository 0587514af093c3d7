"""Deploys k8s/base to the cluster and does to it what clusters do. `check.sh` prepares what this needs.

Everything is asked over the Service's address from inside the node's network: this starts itself again in there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "deploy"))
import checks  # noqa: E402
import oip  # noqa: E402
import older  # noqa: E402
from load import GrpcLoad, Load  # noqa: E402

NAMESPACE = "onnxd"
REPOSITORY = "docker.io/library/onnxd"
REPLICAS = 3
ROLLOUT_SECONDS = 180
# How long a rollout may make no progress before it is reported as failed; the manifest is more patient.
PROGRESS_SECONDS = 30
INSIDE = "ONNXD_INSIDE_NODE"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubectl", required=True)
    parser.add_argument("--enter", required=True)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--digests", type=json.loads, required=True, help="of the images, by tag, as JSON")
    arguments = parser.parse_args()
    if INSIDE not in os.environ:
        os.execvpe(arguments.enter, [arguments.enter, sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})
    cluster = Cluster(arguments.kubectl)
    release = Release(cluster, arguments.kubeconfig, arguments.digests)
    return checks.run(
        [
            ("the node is ready", cluster.node_is_ready),
            ("k8s/base is applied and every replica becomes ready", cluster.deploy),
            ("the Service answers", cluster.service_answers),
            ("a CPU limit of 1 is one thread, and the memory limit is seen", lambda: cluster.sees_limits(1, 512 << 20)),
            ("a rolling update under load loses no request", cluster.rolling_update),
            ("a drain takes one pod and is refused the next, and no request is lost", cluster.drain),
            ("a broken model is never asked, the rollout fails, and the old pods go on", cluster.broken_model),
            ("undoing it makes all well", cluster.undo),
            ("a CPU limit of 2 is two threads", lambda: cluster.change_limits("2", "512Mi", 2, 512 << 20)),
            ("a pod that is killed for memory comes back", cluster.out_of_memory),
            ("the release's deploy step rolls out what is good", release.rolls_out),
            ("and goes back where it is not, under load", release.rolls_back),
            ("KServe's runtime serves what KServe lays down", cluster.kserve_runtime),
        ]
    )


class Cluster:
    def __init__(self, kubectl):
        self._kubectl = kubectl

    def kubectl(self, *arguments, check=True, text=None):
        command = [self._kubectl, "--namespace", NAMESPACE, *arguments]
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert not check or done.returncode == 0, "kubectl {}: {}".format(" ".join(arguments), done.stderr.strip())
        return done

    def get(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "--output", "json").stdout)

    def pods(self):
        """Lists the pods of the Deployment that are not on their way out."""
        pods = self.get("pods", "--selector", "app.kubernetes.io/name=onnxd")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def rolled_out(self):
        self.kubectl("rollout", "status", "deployment/onnxd", "--timeout", "{}s".format(ROLLOUT_SECONDS))
        # The old pods are still draining.
        gone = lambda: len(self.get("pods", "--selector", "app.kubernetes.io/name=onnxd")["items"]) == REPLICAS  # noqa: E731
        checks.wait_until(gone, ROLLOUT_SECONDS, "the end of the old pods")

    def node_is_ready(self):
        def ready():
            nodes = self.get("nodes")["items"]
            return any(condition["type"] == "Ready" and condition["status"] == "True"
                       for node in nodes for condition in node["status"].get("conditions", []))
        checks.wait_until(ready, 60, "a node that is ready")

    def deploy(self):
        built = self.kubectl("kustomize", str(ROOT / "k8s" / "base")).stdout
        self.kubectl("apply", "--filename", "-", text=older.translated(built))
        self.rolled_out()
        assert all(pod["spec"]["securityContext"]["runAsNonRoot"] for pod in self.pods())
        service = self.get("service", "onnxd")["spec"]
        self.host = service["clusterIP"]
        (self.port,) = [port["port"] for port in service["ports"] if port["name"] == "http"]
        assert self.port == 80, service["ports"]
        self.url = "http://{}:{}".format(self.host, self.port)
        self.grpc = "{}:8001".format(self.host)

    def service_answers(self):
        checks.predicts_setosa(self.url + "/predict")
        assert oip.label(self.grpc, "iris", checks.ROW["features"]) == 0

    def under_load(self):
        return Load(self.host, self.port)

    def sees_limits(self, cpus, memory_bytes):
        for pod in self.pods():
            name = pod["metadata"]["name"]
            told = self.kubectl("exec", name, "--", "/usr/local/bin/onnxd", "doctor", "--json").stdout
            facts = json.loads(told)
            assert facts["cpus"]["usable"] == facts["http"]["threads"] == cpus, facts["cpus"]
            assert facts["memory_limit"]["bytes"] == memory_bytes, facts["memory_limit"]

    def rolling_update(self):
        before = {pod["metadata"]["name"] for pod in self.pods()}
        with self.under_load() as load, GrpcLoad(self.grpc) as grpc_load:
            checks.wait_until(lambda: load.answered > 50 < grpc_load.answered, 30, "load")
            self.kubectl("set", "image", "deployment/onnxd", "onnxd={}:next".format(REPOSITORY))
            self.rolled_out()
        after = {pod["metadata"]["name"] for pod in self.pods()}
        assert not before & after and len(after) == REPLICAS, (before, after)
        return "HTTP: {}; gRPC: {}".format(nothing_lost(load), nothing_lost(grpc_load))

    def drain(self):
        with self.under_load() as load:
            try:
                done = self.kubectl("drain", "node1", "--ignore-daemonsets", "--timeout", "25s", check=False)
                said = done.stdout + done.stderr
                assert done.returncode != 0 and "violate the pod's disruption budget" in said, said
                assert len(self.ready_pods()) == REPLICAS - 1, self.ready_pods()
            finally:
                self.kubectl("uncordon", "node1")
                checks.wait_until(lambda: len(self.ready_pods()) == REPLICAS, 60, "a pod in place of the evicted one")
        return nothing_lost(load)

    def ready_pods(self):
        def is_ready(pod):
            conditions = pod["status"].get("conditions", [])
            return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
        return [pod["metadata"]["name"] for pod in self.pods() if is_ready(pod)]

    def broken_model(self):
        old = set(self.ready_pods())
        self.kubectl("patch", "deployment", "onnxd", "--patch", json.dumps({"spec": {"progressDeadlineSeconds": PROGRESS_SECONDS}}))
        with self.under_load() as load:
            self.kubectl("set", "image", "deployment/onnxd", "onnxd={}:broken".format(REPOSITORY))
            done = self.kubectl("rollout", "status", "deployment/onnxd", "--timeout", "120s", check=False)
            assert done.returncode != 0 and "exceeded its progress deadline" in done.stderr, done.stderr
        assert set(self.ready_pods()) == old, (old, self.ready_pods())
        (new,) = [pod for pod in self.pods() if pod["metadata"]["name"] not in old]
        status = new["status"]["containerStatuses"][0]
        # It is live, so nobody restarts it: whoever looks finds it, and its reason, still there.
        assert status["state"].get("running") and status["restartCount"] == 0 and not status["ready"], status
        code, answer = checks.call("http://{}:8000/health/ready".format(new["status"]["podIP"]))
        assert code == 503 and "broken" in answer["error"], (code, answer)
        return nothing_lost(load)

    def undo(self):
        self.kubectl("rollout", "undo", "deployment/onnxd")
        self.rolled_out()
        self.service_answers()

    def change_limits(self, cpu, memory, cpus, memory_bytes):
        self.kubectl("set", "resources", "deployment/onnxd", "--limits", "cpu={},memory={}".format(cpu, memory))
        self.rolled_out()
        self.sees_limits(cpus, memory_bytes)

    def out_of_memory(self):
        self.kubectl("set", "resources", "deployment/onnxd", "--limits", "cpu=1,memory=96Mi", "--requests", "cpu=100m,memory=96Mi")
        self.rolled_out()
        victim = self.pods()[0]
        name = victim["metadata"]["name"]
        # Less than --max-body-bytes, and more than fits.
        body = b'{"features":[' + b"[5.1,3.5,1.4,0.2]," * 3_400_000 + b"[5.1,3.5,1.4,0.2]]}"
        try:
            urllib.request.urlopen("http://{}:8000/models/iris/predict".format(victim["status"]["podIP"]), data=body, timeout=60)
        except (OSError, urllib.error.URLError):
            pass

        def came_back():
            status = self.get("pod", name)["status"]["containerStatuses"][0]
            ended = status["lastState"].get("terminated", {})
            return status["ready"] and status["restartCount"] == 1 and ended.get("reason") == "OOMKilled"
        checks.wait_until(came_back, 90, "killed for memory, and back")
        self.service_answers()

    def kserve_runtime(self):
        """Makes the pod as KServe's controller does: the runtime's container, its name filled in, and the model mounted."""
        runtime = yaml.safe_load(self.kubectl("kustomize", str(ROOT / "k8s" / "kserve")).stdout)
        (container,) = runtime["spec"]["containers"]
        container = json.loads(json.dumps(container).replace("{{.Name}}", "sample"))
        # The storage initializer keeps the names that the storage has. A ConfigMap's files are links into a hidden folder.
        iris = ROOT / "models" / "iris"
        files = ["--from-file=iris-2026.onnx={}".format(iris / "1" / "model.onnx"), "--from-file={}".format(iris / "model.toml")]
        self.kubectl("create", "configmap", "model", *files)
        container["volumeMounts"] = [{"name": "model", "mountPath": "/mnt/models", "readOnly": True}]
        spec = {"containers": [container], "enableServiceLinks": False, "automountServiceAccountToken": False}
        spec["volumes"] = [{"name": "model", "configMap": {"name": "model"}}]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sample"}, "spec": spec}
        self.kubectl("apply", "--filename", "-", text=json.dumps(pod))
        done = self.kubectl("wait", "pod/sample", "--for", "condition=Ready", "--timeout", "60s", check=False)
        assert done.returncode == 0, self.kubectl("describe", "pod/sample").stdout[-2000:]
        address = self.get("pod", "sample")["status"]["podIP"]
        url = "http://{}:8080".format(address)
        self.is_scraped(address, runtime["spec"]["annotations"])
        checks.predicts_setosa(url + "/models/sample/predict")
        code, answer = checks.call(url + "/v1/models/sample:predict", {"instances": [checks.ROW["features"]]})
        assert code == 200 and len(answer["predictions"]) == 1, (code, answer)
        tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": checks.ROW["features"]}
        code, answer = checks.call(url + "/v2/models/sample/infer", {"inputs": [tensor]})
        labels = [output["data"] for output in answer["outputs"] if output["name"] == "label"]
        assert code == 200 and labels == [[0]], (code, answer)
        # The port that is gRPC's alone, and the one that KServe takes unless told otherwise.
        for port in (9000, 8080):
            assert oip.label("{}:{}".format(address, port), "sample", checks.ROW["features"]) == 0

    def is_scraped(self, address, annotations):
        """Asks for the metrics where KServe tells Prometheus to."""
        url = "http://{}:{}{}".format(address, annotations["prometheus.kserve.io/port"], annotations["prometheus.kserve.io/path"])
        with urllib.request.urlopen(url, timeout=10) as response:
            text = response.read().decode()
        assert 'model_ready{model="sample"' in text, text[:500]


class Release:
    """The step of the release's workflow that deploys, run as the workflow has it, with an image named by its digest."""

    def __init__(self, cluster, kubeconfig, digests):
        self._cluster = cluster
        self._kubeconfig = kubeconfig
        self._digests = digests

    def deploy(self, tag):
        workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
        (script,) = [step["run"] for step in workflow["jobs"]["deploy"]["steps"] if "run" in step]
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **os.environ,
                "IMAGE": REPOSITORY,
                "DIGEST": self._digests[tag],
                "KUBECONFIG_TEXT": self._kubeconfig.read_text(),
                "RUNNER_TEMP": folder,
                "KUBECTL": "{} {}".format(sys.executable, Path(older.__file__)),
                "ROLLOUT_TIMEOUT": "60s",
            }
            # As GitHub's runners start it.
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
            return subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def rolls_out(self):
        done = self.deploy("next")
        assert done.returncode == 0, done.stdout
        self._cluster.rolled_out()
        self._cluster.service_answers()

    def rolls_back(self):
        with self._cluster.under_load() as load:
            done = self.deploy("broken")
            assert done.returncode == 1 and "did not become ready" in done.stdout, done.stdout
        self._cluster.rolled_out()
        images = {pod["spec"]["containers"][0]["image"] for pod in self._cluster.pods()}
        assert images == {"{}@{}".format(REPOSITORY, self._digests["next"])}, images
        return nothing_lost(load)


def nothing_lost(load):
    assert load.failures == [], "{} of {}: {}".format(len(load.failures), load.answered, load.failures[:5])
    return "{} requests, 0 failed".format(load.answered)


if __name__ == "__main__":
    sys.exit(main())
