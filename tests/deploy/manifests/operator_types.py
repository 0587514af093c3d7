"""Holds the Prometheus operator's resources against its own types, by the TypeScript compiler: it refuses unknown fields."""

import json
import subprocess
import tempfile
from pathlib import Path

GROUP = "monitoring.coreos.com"
MISSPELT = {"metadata": {"name": "x"}, "spec": {"selector": {}, "endpoints": [{"prot": "http"}]}}


def validate(resources, node_modules):
    ours = [resource for resource in resources if resource["apiVersion"].startswith(GROUP + "/")]
    assert {resource["kind"] for resource in ours} == {"ServiceMonitor", "PrometheusRule"}, ours
    failed = compile_as_types(ours, node_modules)
    assert not failed, failed
    misspelt = {"apiVersion": GROUP + "/v1", "kind": "ServiceMonitor", **MISSPELT}
    assert "prot" in compile_as_types([misspelt], node_modules), "a misspelt field was not noticed"
    return "{} resources".format(len(ours))


def compile_as_types(resources, node_modules):
    """Returns what the compiler says against it; nothing where all is well."""
    lines = []
    for number, resource in enumerate(resources):
        group, version = resource["apiVersion"].split("/")
        lines.append('import type {{ I{0} as T{1} }} from "@kubernetes-models/prometheus-operator/{2}/{3}/{0}";'.format(
            resource["kind"], number, group, version))
        lines.append("export const r{0}: T{0} = {1};".format(number, json.dumps(resource)))
    with tempfile.TemporaryDirectory(dir=str(node_modules.parent)) as folder:
        source = Path(folder) / "resources.ts"
        source.write_text("\n".join(lines))
        command = ["node", str(node_modules / "typescript" / "lib" / "tsc.js"), "--noEmit", "--strict", "--skipLibCheck"]
        command += ["--module", "nodenext", "--moduleResolution", "nodenext", "--target", "es2022", str(source)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout if done.returncode != 0 else ""
