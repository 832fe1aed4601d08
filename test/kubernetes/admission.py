# SPDX-License-Identifier: Apache-2.0
"""Gives the pods that others make the runtime class: the API's server asks here about each new one."""
import base64
import contextlib
import http.server
import json
import ssl
import subprocess
import threading

from cluster import KATA

ADDRESS = ("127.0.0.1", 8443)
REQUEST_MAX = 4 << 20
NAME = "runtime-class"


def patch(pod):
    """What is changed of a pod. Pods of the node's network are left to the default runtime, as docs/how-to.md says."""
    spec = pod["spec"]
    if spec.get("runtimeClassName") or spec.get("hostNetwork"):
        return []
    return [{"op": "add", "path": "/spec/runtimeClassName", "value": KATA}]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802  (the base class's name)
        size = int(self.headers["Content-Length"])
        assert size <= REQUEST_MAX
        review = json.loads(self.rfile.read(size))
        changes = json.dumps(patch(review["request"]["object"])).encode()
        review["response"] = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch",
                              "patch": base64.b64encode(changes).decode()}
        del review["request"]
        answer = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass


def configuration(certificate):
    return {
        "kind": "MutatingWebhookConfiguration", "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": NAME},
        "webhooks": [{
            "name": "runtime-class.kata.test", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "clientConfig": {"url": f"https://{ADDRESS[0]}:{ADDRESS[1]}/",
                             "caBundle": base64.b64encode(certificate).decode()},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    }


@contextlib.contextmanager
def giving_the_class(cluster):
    key, certificate = cluster.work / "users/admission.key", cluster.work / "users/admission.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=admission",
                    "-addext", f"subjectAltName=IP:{ADDRESS[0]}", "-keyout", key, "-out", certificate],
                   stderr=subprocess.DEVNULL, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(ADDRESS, Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            asked = json.dumps(configuration(certificate.read_bytes())).encode()
            answer = cluster.kubectl("apply", "--filename=-", stdin=asked)
            assert answer.code == 0, answer.err
            yield
        finally:
            cluster.kubectl("delete", "mutatingwebhookconfiguration", NAME)
            server.shutdown()
            thread.join()
