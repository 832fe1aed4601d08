#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: kernel_config.py merge FRAGMENT...          prints the options of all, a later one wins
       kernel_config.py check TREE FRAGMENT...     fails if TREE/.config has another value than they ask for

A fragment has one CONFIG_NAME=value a line: y, n, a number or a "string"; m is refused, the guest loads no modules.
"# CONFIG_NAME is not set" means n; other lines that begin with # are comments.
"""
import os
import pathlib
import re
import sys

OPTION = re.compile(r'(CONFIG_\w+)=(y|n|-?[0-9]+|0x[0-9a-fA-F]+|"[^"]*")')
NOT_SET = re.compile(r"# (CONFIG_\w+) is not set")
SYMBOL = re.compile(r"^\s*(?:menu)?config\s+(\w+)", re.MULTILINE)
UNKNOWN = "this kernel has no such option"


class BadFragment(Exception):
    """One line that names the file, and what is wrong in it."""


def read_fragment(path):
    """{name: value} of one fragment."""
    found = {}
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFragment(f'reading "{path}": {getattr(error, "strerror", None) or error}') from error
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if match := NOT_SET.fullmatch(line):
            name, value = match[1], "n"
        elif not line or line.startswith("#"):
            continue
        elif match := OPTION.fullmatch(line):
            name, value = match[1], match[2]
        else:
            raise BadFragment(f'{path}:{number}: "{line}" is not CONFIG_NAME= with y, n, a number or a "string"')
        if name in found:
            raise BadFragment(f"{path}:{number}: {name} stands there twice")
        found[name] = value
    return found


def merge(paths):
    """{name: (value, path of the fragment that decided)}."""
    merged = {}
    for path in paths:
        for name, value in read_fragment(path).items():
            merged[name] = (value, path)
    return merged


def read_config(path):
    """{name: value} of a kernel's .config; what is not in it is n."""
    pairs = (line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("CONFIG_"))
    return dict(pairs)


def symbols(tree):
    """The names of all options in the tree."""
    found = set()
    for directory, _, files in os.walk(tree):
        for name in files:
            if name.startswith("Kconfig"):
                text = pathlib.Path(directory, name).read_text(encoding="utf-8", errors="replace")
                found.update("CONFIG_" + symbol for symbol in SYMBOL.findall(text))
    return found


def differences(tree, merged):
    """One line per option that the configured kernel in `tree` did not take."""
    taken = read_config(pathlib.Path(tree, ".config"))
    known = symbols(tree)
    for name, (value, path) in sorted(merged.items()):
        fragment = os.path.basename(path)
        if name not in known:
            yield f"{name}={value} of {fragment}: {UNKNOWN}"
        elif taken.get(name, "n") != value:
            yield f"{name}={value} of {fragment}: the kernel took {taken.get(name, 'n')}"


def main(arguments):
    if arguments[:1] == ["merge"]:
        for name, (value, _) in merge(arguments[1:]).items():
            print(f"{name}={value}")
        return 0
    if arguments[:1] == ["check"] and len(arguments) > 1:
        found = list(differences(arguments[1], merge(arguments[2:])))
        for line in found:
            print(f"configuring the kernel: {line}", file=sys.stderr)
        return 1 if found else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BadFragment as bad:
        sys.exit(f"configuring the kernel: {bad}")
