# SPDX-License-Identifier: Apache-2.0
"""A namespace of the cluster for one test, and the objects that tests put into it."""
import json

import harness
from cluster import IMAGE, KATA, WAIT_SECONDS

POLL_SECONDS = f"{WAIT_SECONDS}s"
SLEEP = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")  # ends when it is told to
EXEC_PROBE_SECONDS = 60  # a program takes seconds to start where the machine is emulated and the host busy


def container(name, *command, **more):
    return {"name": name, "image": IMAGE, "command": list(command or SLEEP), **more}


def shell(name, script, **more):
    return container(name, "sh", "-c", script, **more)


def exec_probe(*command, **more):
    return {"exec": {"command": list(command)}, "periodSeconds": 2, "timeoutSeconds": EXEC_PROBE_SECONDS,
            "failureThreshold": 3, **more}


def pod_spec(*containers, **more):
    return {"runtimeClassName": KATA, "terminationGracePeriodSeconds": 5, "containers": list(containers), **more}


def pod(name, *containers, labels=None, **more):
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "labels": labels or {"app": name}},
            "spec": pod_spec(*containers, **more)}


def template(app, *containers, **more):
    return {"metadata": {"labels": {"app": app}}, "spec": pod_spec(*containers, **more)}


def deployment(name, replicas, *containers):
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": template(name, *containers)}}


def config_map(name, **data):
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": data}


class Space:
    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name

    def make(self):
        self._must("create", "namespace", self.name)
        harness.wait_for(lambda: self.kubectl("get", "serviceaccount", "default").code == 0, "the service account",
                         WAIT_SECONDS)

    def remove(self):
        # The pods first: a namespace that finds some looks again much later.
        self._must("delete", "deployments,jobs,pods", "--all", "--wait", f"--timeout={POLL_SECONDS}")
        self._must("delete", "namespace", self.name, "--wait=false")

    def command(self, *arguments):
        return self.cluster.kubectl_command("--namespace", self.name, *arguments)

    def kubectl(self, *arguments, stdin=b""):
        return self.cluster.kubectl("--namespace", self.name, *arguments, stdin=stdin)

    def _must(self, *arguments, stdin=b""):
        answer = self.kubectl(*arguments, stdin=stdin)
        assert answer.code == 0, f"kubectl {' '.join(map(str, arguments))}: {answer.err}\n{self.story()}"
        return answer.out.decode()

    def apply(self, *objects):
        whole = {"kind": "List", "apiVersion": "v1", "items": list(objects)}
        self._must("apply", "--filename=-", stdin=json.dumps(whole).encode())

    def get(self, kind, name=None, **flags):
        words = [*([name] if name else []), *[f"--{key}={value}" for key, value in flags.items()]]
        return json.loads(self._must("get", kind, "--output=json", *words))

    def delete(self, kind, name):
        self._must("delete", kind, name, "--wait", f"--timeout={POLL_SECONDS}")

    def story(self):
        """What happened here, for the text of a failure."""
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp").out.decode()[-4000:]
        return self.kubectl("get", "pods", "--output=wide").out.decode() + events + self.cluster.log_tail("kubelet", 5)

    def wait(self, condition, *what):
        """kubectl's own wait: `condition` as condition=Ready or delete."""
        self._must("wait", f"--for={condition}", f"--timeout={POLL_SECONDS}", *what)

    def until(self, condition, what):
        try:
            return harness.wait_for(condition, what, WAIT_SECONDS)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.story()}") from None

    def run(self, *objects):
        """Applies, and waits until the pods among them are ready."""
        self.apply(*objects)
        for one in objects:
            if one["kind"] == "Pod":
                self.wait("condition=Ready", f"pod/{one['metadata']['name']}")

    def run_to_end(self, one):
        """Applies a pod, waits for its end and returns its phase."""
        self.apply(one)
        return self.wait_end(one["metadata"]["name"])

    def wait_end(self, name):
        self.until(lambda: self.phase(name) in ("Succeeded", "Failed"), f'the end of pod "{name}"')
        return self.phase(name)

    def phase(self, name):
        return self.get("pod", name)["status"]["phase"]

    def container_status(self, name, container_name="c"):
        """Empty while the kubelet has said nothing."""
        for status in self.get("pod", name)["status"].get("containerStatuses", []):
            if status["name"] == container_name:
                return status
        return {}

    def wait_run(self, name, restarts, container_name="c"):
        """Until a container is ready in its run with that number, from 0 on."""
        def is_there():
            status = self.container_status(name, container_name)
            return status.get("ready") and status["restartCount"] == restarts
        self.until(is_there, f"run {restarts} of container {container_name}")

    def address(self, name):
        return self.get("pod", name)["status"]["podIP"]

    def exec(self, name, *command, container_name="c", stdin=None):
        flags = ["--stdin"] if stdin is not None else []
        return self.kubectl("exec", name, "--container", container_name, *flags, "--", *command, stdin=stdin or b"")

    def output(self, name, *command, container_name="c"):
        answer = self.exec(name, *command, container_name=container_name)
        assert answer.code == 0, answer
        return answer.out.decode().strip()

    def logs(self, name, *flags):
        return self._must("logs", name, *flags)
