"""The `restricted` profile of the Pod Security Standards, as far as our pods can break it."""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def validate(resources):
    pods = 0
    for resource in resources:
        if resource["kind"] == "Deployment":
            spec = resource["spec"]["template"]["spec"]
        elif resource["kind"] == "ClusterServingRuntime":
            spec = resource["spec"]
        else:
            continue
        pods += 1
        broken = list(breaches(spec))
        assert not broken, "{}: {}".format(resource["metadata"]["name"], broken)
    assert pods, "there are no pods"
    privileged = {"containers": [{"name": "x", "securityContext": {"privileged": True}}], "hostNetwork": True}
    assert len(list(breaches(privileged))) >= 6, "a privileged pod was not noticed"
    return "{} pods".format(pods)


def breaches(spec):
    """Names each control of the profile that a pod's spec breaks."""
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield name
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield "volume {}".format(kinds)
    pod = spec.get("securityContext", {})
    for container in spec.get("initContainers", []) + spec["containers"]:
        own = container.get("securityContext", {})
        if own.get("privileged"):
            yield "privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield "allowPrivilegeEscalation"
        capabilities = own.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield "capabilities"
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            yield "runAsNonRoot"
        if own.get("runAsUser", pod.get("runAsUser")) == 0:
            yield "runAsUser"
        profile = own.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield "seccompProfile"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield "hostPort"
        if own.get("procMount", "Default") != "Default":
            yield "procMount"
