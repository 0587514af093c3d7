"""Holds KServe's resources against its Python models, which are generated from the definitions that its CRDs are made of.

They are read and not imported: importing them would need all that a model server written in Python needs.
"""

import ast
import re

import kubernetes_validate

VERSIONS = {"ClusterServingRuntime": "V1alpha1", "InferenceService": "V1beta1"}
SIMPLE = {"str": str, "int": int, "bool": bool, "float": (int, float)}
# An InferenceService's ModelSpec has these beside the fields of a container, which the generator leaves out.
ANYTHING = "object"


def validate(resources, package):
    ours = [resource for resource in resources if resource["apiVersion"].startswith("serving.kserve.io/")]
    assert {resource["kind"] for resource in ours} == set(VERSIONS), ours
    for resource in ours:
        wrong = list(misfits(resource, VERSIONS[resource["kind"]] + resource["kind"], package, resource["kind"]))
        assert not wrong, wrong
    misspelt = {"spec": {"supportedModelFormat": [], "containers": [{"name": "x", "img": "x"}]}}
    noticed = list(misfits(misspelt, "V1alpha1ClusterServingRuntime", package, "x"))
    assert len(noticed) == 2, "a misspelt field was not noticed: {}".format(noticed)
    return "{} resources".format(len(ours))


def misfits(value, type_name, package, path):
    """Names whatever of `value` is not what KServe's model of that name says."""
    listed = re.fullmatch(r"list\[(.*)\]", type_name)
    mapped = re.fullmatch(r"dict\(str, (.*)\)", type_name)
    if listed:
        for index, item in enumerate(value):
            yield from misfits(item, listed.group(1), package, "{}[{}]".format(path, index))
    elif mapped:
        for key, item in value.items():
            yield from misfits(item, mapped.group(1), package, "{}.{}".format(path, key))
    elif type_name in SIMPLE:
        if not isinstance(value, SIMPLE[type_name]):
            yield "{}: expected {}, got {!r}".format(path, type_name, value)
    elif type_name == "V1Container":
        yield from misfits_of_pod({"containers": [value]}, path)
    elif type_name == "V1Volume":
        yield from misfits_of_pod({"containers": [{"name": "x", "image": "x"}], "volumes": [value]}, path)
    elif type_name in ("V1ObjectMeta", ANYTHING):
        return
    else:
        fields = fields_of(type_name, package)
        for key, item in value.items():
            if key not in fields:
                yield "{}.{}: {} has no such field".format(path, key, type_name)
            else:
                yield from misfits(item, fields[key], package, "{}.{}".format(path, key))


def misfits_of_pod(spec, path):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    try:
        kubernetes_validate.validate(pod, "1.37", strict=True)
    except kubernetes_validate.ValidationError as error:
        yield "{}: {}".format(path, error)


def fields_of(type_name, package):
    """Returns the fields of a model by their names in JSON, with the names of their types."""
    version, rest = re.fullmatch(r"(V1alpha1|V1beta1)(\w+)", type_name).groups()
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", rest).lower()
    source = (package / "kserve" / "models" / "{}_{}.py".format(version.lower(), name)).read_text()
    tables = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("openapi_types", "attribute_map"):
            tables[node.targets[0].id] = ast.literal_eval(node.value)
    return {json_name: tables["openapi_types"][field] for field, json_name in tables["attribute_map"].items()}
