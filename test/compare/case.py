# SPDX-License-Identifier: Apache-2.0
"""What a case is, and the list of all of them.

A case runs the same thing under two runtimes and gives a text each time; the texts are compared line by line. `has` is
a pattern that runc's text must contain: it says what is right, so that a case whose script is broken on both sides fails.
"""
import dataclasses
import re
from collections.abc import Callable

CASES = []
TOPICS = ("processes", "terminals", "signals", "limits", "mounts", "files", "users", "environment", "views", "security",
          "namespaces", "stdio", "exec", "failures", "tasks", "devices", "cgroups")


@dataclasses.dataclass(frozen=True)
class Case:
    name: str                                    # TOPIC/WORDS
    has: str                                     # pattern in runc's text
    script: str = ""                             # for the shell of the image
    command: tuple[str, ...] = ()                # instead of a script: the process itself
    flags: tuple[str, ...] = ()                  # of `ctr run`
    edit: Callable[[dict], None] | None = None   # of the OCI configuration
    exec_flags: tuple[str, ...] | None = None    # run by `ctr task exec` in a running container
    function: Callable | None = None             # given the runtime's side, returns the text
    shared: bool = False                         # may run in one container with others

    @property
    def quick(self):
        """Part of the tests of each change: those of one plain container, hundreds in a few boots."""
        return self.shared and not self.flags and self.edit is None

    @property
    def topic(self):
        return self.name.split("/")[0]

    def broken(self, text):
        """Why runc's text is no good, if so."""
        if not re.search(self.has, text, re.MULTILINE):
            return f"runc's text has no {self.has!r}"
        return None


def add(case):
    if case.topic not in TOPICS or any(other.name == case.name for other in CASES):
        raise ValueError(f"case {case.name!r}: no such topic, or the name is taken")
    CASES.append(case)


def script(name, text, has, flags=(), edit=None):
    """A script that disturbs no other: all with the same flags and edit share a container."""
    add(Case(name, has, script=text, flags=tuple(flags), edit=edit, shared=True))


def own(name, text, has, flags=(), edit=None):
    """A script that is the container's init, alone."""
    add(Case(name, has, script=text, flags=tuple(flags), edit=edit))


def command(name, words, has, flags=(), edit=None):
    """A program that is the container's init, without a shell."""
    add(Case(name, has, command=tuple(words), flags=tuple(flags), edit=edit))


def execute(name, text, has, exec_flags=(), flags=()):
    """A script run by `ctr task exec`; a list of words is run without a shell."""
    words = {"script": text} if isinstance(text, str) else {"command": tuple(text)}
    add(Case(name, has, flags=tuple(flags), exec_flags=tuple(exec_flags), **words))


def function(name, has):
    """Decorates a function that drives ctr itself."""
    def register(call):
        add(Case(name, has, function=call))
        return call
    return register
