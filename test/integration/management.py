# SPDX-License-Identifier: Apache-2.0
"""A shim's management socket, as any HTTP client of the host's root sees it."""
import collections
import http.client
import json
import os
import pathlib
import socket

import harness

Page = collections.namedtuple("Page", "status type body")


def directory_of(identity):
    """The sandbox's directory of a container that is alone."""
    found = [path for path in harness.KATA_RUN.iterdir() if path.name.startswith(f"{identity}-")]
    assert len(found) == 1, found
    return found[0]


def socket_of(identity):
    return directory_of(identity) / "http.sock"


def connect(path, timeout=60):
    """A long path does not fit a socket's address; through its directory it does."""
    directory = os.open(pathlib.Path(path).parent, os.O_PATH | os.O_DIRECTORY)
    try:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(timeout)
        client.connect(f"/proc/self/fd/{directory}/{pathlib.Path(path).name}")
        return client
    finally:
        os.close(directory)


def ask(path, page, method="GET", body=None):
    connection = http.client.HTTPConnection("shim")
    connection.sock = connect(path)
    try:
        connection.request(method, page, body)
        response = connection.getresponse()
        return Page(response.status, response.headers["Content-Type"], response.read().decode())
    finally:
        connection.close()


def state(identity):
    return json.loads(ask(socket_of(identity), "/state").body)
