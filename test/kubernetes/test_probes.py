# SPDX-License-Identifier: Apache-2.0
"""Probes, by a program, HTTP and TCP, and lifecycle hooks: the kubelet asks, and does what it should then."""
import pytest

import harness
from space import EXEC_PROBE_SECONDS, container, exec_probe, pod, shell

SERVE = "mkdir -p /www; echo fine > /www/health; httpd -f -p 8080 -h /www & "
WAIT = "while :; do sleep 0.1; done"
KINDS = {"exec": {"exec": {"command": ["test", "-e", "/www/health"]}},
         "http": {"httpGet": {"path": "/health", "port": 8080}},
         "tcp": {"tcpSocket": {"port": 8080}}}
# What takes the answer away: the probe's program, page or listener.
BREAKS = {"exec": "rm /www/health", "http": "rm /www/health", "tcp": "kill $(pidof httpd)"}


def probe(kind, **more):
    return {**KINDS[kind], "periodSeconds": 1, "timeoutSeconds": EXEC_PROBE_SECONDS, "failureThreshold": 2, **more}


@pytest.mark.parametrize("kind", KINDS)
def test_liveness(space, kind):
    """A container that fails its probe is started anew, in the same machine; one that passes is left alone."""
    space.run(pod("p", shell("c", f"{SERVE} {WAIT}", livenessProbe=probe(kind), readinessProbe=probe(kind))))
    assert space.container_status("p")["restartCount"] == 0
    space.output("p", "sh", "-c", BREAKS[kind])
    space.wait_run("p", 1)


def test_startup_probe(space):
    """The liveness probe waits for the startup probe."""
    space.run(pod("p", shell("c", "sleep 8; touch /started; " + WAIT, startupProbe=exec_probe(
        "test", "-e", "/started", periodSeconds=1, failureThreshold=300), livenessProbe=exec_probe(
            "test", "-e", "/started", periodSeconds=1, failureThreshold=1))))
    assert space.container_status("p")["restartCount"] == 0


def test_readiness_of_http_status(space):
    """The server answers, but not well."""
    space.apply(pod("p", shell("c", f"{SERVE} rm /www/health; {WAIT}", readinessProbe=probe("http"))))
    space.until(lambda: b"404" in space.kubectl("get", "events", "--field-selector=reason=Unhealthy").out, "a 404")
    assert not space.container_status("p")["ready"]
    space.output("p", "touch", "/www/health")
    space.wait("condition=Ready", "pod/p")


def test_hooks_by_programs(space):
    """postStart is through before the container counts as started; preStop runs before SIGTERM comes."""
    folder = f"/var/lib/of-{space.name}"
    space.run(pod("p", shell("c", "trap 'echo asked >> /v/hooks; exit 0' TERM; while :; do sleep 0.1; done", lifecycle={
        "postStart": {"exec": {"command": ["sh", "-c", "echo begun >> /v/hooks"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo ending >> /v/hooks"]}}},
                             volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                  volumes=[{"name": "v", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}],
                  terminationGracePeriodSeconds=120))
    assert space.output("p", "cat", "/v/hooks") == "begun"
    space.delete("pod", "p")
    assert harness.read(f"{folder}/hooks") == "begun\nending\nasked\n"


def test_hooks_by_http(space):
    script = "#!/bin/sh\\necho $QUERY_STRING >> /seen; echo; echo\\n"
    space.run(pod("server", shell("c", f"mkdir -p /www/cgi-bin; printf '{script}' > /www/cgi-bin/hook; "
                                  "chmod +x /www/cgi-bin/hook; exec httpd -f -p 8080 -h /www")))

    def hook(word):
        return {"httpGet": {"host": space.address("server"), "port": 8080, "path": f"/cgi-bin/hook?{word}"}}
    early = "http://127.0.0.1:8080/cgi-bin/hook?early"
    space.until(lambda: space.exec("server", "wget", "-q", "-O", "-", early).code == 0, "the server")
    space.run(pod("p", container("c", lifecycle={"postStart": hook("begun"), "preStop": hook("ending")})))
    space.delete("pod", "p")
    assert space.output("server", "cat", "/seen").split()[-2:] == ["begun", "ending"]


def test_post_start_that_fails(space):
    hook = {"postStart": {"exec": {"command": ["false"]}}}
    space.apply(pod("p", container("c", "sleep", "100000", lifecycle=hook), restartPolicy="Never"))
    assert space.wait_end("p") == "Failed"
    assert "FailedPostStartHook" in space.kubectl("get", "events").out.decode()
