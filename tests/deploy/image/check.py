"""Tries the image: few rights, little memory, half a CPU. `check.sh` prepares what this needs."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import checks  # noqa: E402
import oip  # noqa: E402
from load import Load  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
MAX_SIZE_BYTES = 100 * 1000 * 1000
MEMORY_BYTES = 512 << 20
RESTRICTIONS = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--cpus", "0.5"]
RESTRICTIONS += ["--memory", str(MEMORY_BYTES), "--memory-swap", str(MEMORY_BYTES), "--pids-limit", "64"]
HEALTHY_SECONDS = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True)
    parser.add_argument("--structure-test", required=True)
    arguments = parser.parse_args()
    image = Image(arguments.image)
    try:
        return checks.run(
            [
                ("the image is small", image.is_small),
                ("it is what structure.yaml says", lambda: image.has_structure(arguments.structure_test)),
                ("it becomes healthy with few rights, by its own health check", image.becomes_healthy),
                ("nothing in it can be written to, and it is nobody in particular", image.is_restricted),
                ("predictions are right, over HTTP and gRPC", image.predicts),
                ("half a CPU is one thread, and the limits are seen", image.sees_its_limits),
                ("SIGTERM under load loses no request and exits 0", image.stops_without_loss),
                ("a model path that is not there is one line and exit status 64", image.refuses_a_wrong_path),
                ("models can be mounted", image.serves_mounted_models),
                ("the archive of a release runs where it is unpacked", image.makes_an_archive),
            ]
        )
    finally:
        image.remove()


def docker(*arguments, check=True):
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert not check or done.returncode == 0, "docker {}: {}".format(" ".join(arguments), done.stderr.strip())
    return done


class Image:
    def __init__(self, tag):
        self.tag = tag
        self.containers = []

    def remove(self):
        for container in self.containers:
            docker("rm", "--force", container, check=False)

    def start(self, *options, command=()):
        container = docker("run", "--detach", *RESTRICTIONS, *options, self.tag, *command).stdout.strip()
        self.containers.append(container)
        return container

    def is_small(self):
        size = int(docker("image", "inspect", "--format", "{{.Size}}", self.tag).stdout)
        assert size < MAX_SIZE_BYTES, "{:.1f} MB, expected under {:.0f} MB".format(size / 1e6, MAX_SIZE_BYTES / 1e6)
        return "{:.1f} MB".format(size / 1e6)

    def has_structure(self, structure_test):
        command = [structure_test, "test", "--image", self.tag, "--config", str(HERE / "structure.yaml")]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout

    def becomes_healthy(self):
        self.container = self.start("--env", "ONNXD_DEFAULT_MODEL=iris")
        self.host = inspect(self.container, "{{.NetworkSettings.Networks.bridge.IPAddress}}")
        self.url = "http://{}:8000".format(self.host)
        health = lambda: inspect(self.container, "{{.State.Health.Status}}") == "healthy"  # noqa: E731
        checks.wait_until(health, HEALTHY_SECONDS, "healthy")

    def is_restricted(self):
        pid = inspect(self.container, "{{.State.Pid}}")
        status = dict(line.split(":\t", 1) for line in Path("/proc", pid, "status").read_text().splitlines() if ":\t" in line)
        assert status["Uid"].split()[:2] == ["65532", "65532"], status["Uid"]
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0, status["CapEff"]
        assert status["NoNewPrivs"] == "1", status["NoNewPrivs"]
        assert inspect(self.container, "{{.HostConfig.ReadonlyRootfs}}") == "true"
        shell = docker("exec", self.container, "/bin/sh", "-c", "true", check=False)
        assert shell.returncode != 0, "there is a shell"

    def predicts(self):
        checks.predicts_setosa(self.url + "/predict")
        assert oip.label(self.host + ":8001", "iris", checks.ROW["features"]) == 0
        ride = {"PULocationID": 100, "DOLocationID": 200, "trip_distance": 3.5}
        status, answer = checks.call(self.url + "/models/ride_duration/predict", ride)
        assert status == 200 and abs(answer["duration"] - 13.651377) < 1e-4, (status, answer)

    def sees_its_limits(self):
        facts = json.loads(docker("exec", self.container, "/usr/local/bin/onnxd", "doctor", "--json").stdout)
        assert facts["cpus"]["usable"] == 1 and facts["cpus"]["quota"]["cpus"] == 0.5, facts["cpus"]
        assert facts["memory_limit"]["bytes"] == MEMORY_BYTES, facts["memory_limit"]
        assert facts["problems"] == [], facts["problems"]

    def stops_without_loss(self):
        with Load(self.host, 8000, ends_with_server=True) as load:
            checks.wait_until(lambda: load.answered > 200, 30, "load")
            docker("stop", "--time", "30", self.container)
            load.join()
        assert load.failures == [], load.failures[:5]
        status = inspect(self.container, "{{.State.ExitCode}} {{.State.OOMKilled}}")
        assert status == "0 false", status
        return "{} requests answered".format(load.answered)

    def refuses_a_wrong_path(self):
        done = docker("run", "--rm", *RESTRICTIONS, self.tag, "serve", "/no/such/models", check=False)
        assert done.returncode == 64 and "/no/such/models" in done.stderr, (done.returncode, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr

    def serves_mounted_models(self):
        models = ROOT / "models" / "breast_cancer"
        container = self.start("--volume", "{}:/models/breast_cancer:ro".format(models), "--env", "PORT=9000")
        url = "http://{}:9000".format(inspect(container, "{{.NetworkSettings.Networks.bridge.IPAddress}}"))
        health = lambda: inspect(container, "{{.State.Health.Status}}") == "healthy"  # noqa: E731
        checks.wait_until(health, HEALTHY_SECONDS, "healthy on another port")
        status, models = checks.call(url + "/models")
        assert status == 200 and "breast_cancer" in json.dumps(models), models


    def makes_an_archive(self):
        with tempfile.TemporaryDirectory() as folder:
            package = [str(ROOT / ".github" / "release" / "package.sh"), self.tag, "0.0.0", "amd64", folder]
            run(package, cwd=ROOT)
            archive = Path(folder, "onnxd-0.0.0-linux-amd64.tar.gz")
            run(["tar", "-C", folder, "-xzf", str(archive)])
            unpacked = archive.with_name("onnxd-0.0.0-linux-amd64")
            # Without ORT_DYLIB_PATH: it finds the library beside itself.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
            run([str(unpacked / "bin" / "onnxd"), "check", str(unpacked / "models")], cwd="/", env=environment)
            names = {path.name for path in unpacked.iterdir()}
            assert names >= {"LICENSE-MIT", "LICENSE-APACHE", "README.md", "CHANGELOG.md"}, names
            return "{:.1f} MB".format(archive.stat().st_size / 1e6)


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, "{}: {}".format(" ".join(command), done.stdout)


def inspect(container, template):
    return docker("inspect", "--format", template, container).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
