# SPDX-License-Identifier: Apache-2.0
"""What controllers make of pods: a Deployment, a Job, and a Service's endpoints, reached from pod to pod."""
from cluster import WAIT_SECONDS
from space import container, deployment, exec_probe, pod, pod_spec, shell

SERVE = "mkdir /www; hostname > /www/name; exec httpd -f -p 8080 -h /www"


def running_pods(space, app):
    pods = space.get("pods", selector=f"app={app}")["items"]
    return {one["metadata"]["name"]: one["status"].get("podIP") for one in pods if one["status"]["phase"] == "Running"
            and "deletionTimestamp" not in one["metadata"]}


def endpoints(space, name):
    subsets = space.get("endpoints", name).get("subsets", [])
    return {address["ip"] for subset in subsets for address in subset.get("addresses", [])}


def roll_out(space, name):
    answer = space.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={WAIT_SECONDS}s")
    assert answer.code == 0, f"{answer.err}\n{space.story()}"


def test_deployment(space):
    space.apply(deployment("d", 3, container("c")))
    roll_out(space, "d")
    first = running_pods(space, "d")
    assert len(first) == 3 and len(set(first.values())) == 3
    victim = sorted(first)[0]
    space.delete("pod", victim)
    roll_out(space, "d")
    space.until(lambda: len(running_pods(space, "d")) == 3 and victim not in running_pods(space, "d"), "another pod")
    space.apply(deployment("d", 3, container("c", env=[{"name": "NEW", "value": "1"}])))
    roll_out(space, "d")

    def are_all_new():
        pods = running_pods(space, "d")
        return len(pods) == 3 and not set(first) & set(pods)
    space.until(are_all_new, "new pods alone")


def test_job(space):
    space.apply({"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "j"},
                 "spec": {"completions": 3, "parallelism": 2,
                          "template": {"spec": pod_spec(shell("c", "echo of-a-job"), restartPolicy="Never")}}})
    space.wait("condition=complete", "job/j")
    names = [one["metadata"]["name"] for one in space.get("pods", selector="job-name=j")["items"]]
    assert [space.logs(name) for name in names] == ["of-a-job\n"] * 3


def test_job_that_fails(space):
    space.apply({"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "j"},
                 "spec": {"backoffLimit": 0,
                          "template": {"spec": pod_spec(shell("c", "exit 5"), restartPolicy="Never")}}})
    space.wait("condition=failed", "job/j")


def test_service_endpoints(space):
    ready = exec_probe("test", "-e", "/ready", periodSeconds=1, failureThreshold=1)
    space.apply(deployment("web", 2, shell("c", f"touch /ready; {SERVE}", readinessProbe=ready)),
                {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "web"},
                 "spec": {"selector": {"app": "web"}, "clusterIP": "None", "ports": [{"port": 8080}]}})
    roll_out(space, "web")
    space.run(pod("client", container("c")))
    space.until(lambda: len(endpoints(space, "web")) == 2, "both endpoints")
    addresses = {address: name for name, address in running_pods(space, "web").items()}
    assert endpoints(space, "web") == set(addresses)
    for address, name in addresses.items():
        assert space.output("client", "wget", "-q", "-O", "-", f"http://{address}:8080/name") == name
    # One that says that it is not ready gets no calls.
    address, name = addresses.popitem()
    space.output(name, "rm", "/ready")
    space.until(lambda: endpoints(space, "web") == set(addresses), "the endpoint to go")
    space.output(name, "touch", "/ready")
    space.until(lambda: endpoints(space, "web") == {address, *addresses}, "the endpoint to come back")
