# SPDX-License-Identifier: Apache-2.0
"""What docs/troubleshooting.md quotes of errors and warnings; tests hold against it what they have provoked."""
import functools
import re

import harness

DOCUMENT = harness.REPOSITORY / "docs/troubleshooting.md"
ANYTHING = "…"


@functools.cache
def quotes():
    """{heading: the quote below it}; a quote is one line that begins with four blanks."""
    found, heading = {}, None
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = None
        elif line.startswith("### "):
            heading = line.removeprefix("### ")
        elif line.startswith("    ") and heading:
            assert heading not in found, f"{heading!r} has two quotes"
            found[heading] = line.strip()
    return found


def told(heading, text):
    """The text, of an error or a log, has what the document quotes below the heading."""
    pattern = re.escape(quotes()[heading]).replace(re.escape(ANYTHING), ".*?")
    assert re.search(pattern, text, re.DOTALL), f"{quotes()[heading]!r} is not in {text!r}"
