#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tools/dev/coroutine_lint.py ROOT | --self-test

Refuses coroutine code that compilers of our range translate wrongly without a warning, or that dangles. The rules are
explained in CONTRIBUTING.md, "Common errors"; the number in a finding is the entry there. Reads all .h and .cc below
ROOT except build directories. Exit code 1 when there is a finding.
"""
import pathlib
import re
import sys

FOLDERS = ("agent", "hypervisors", "proto", "shimv2", "test", "tools", "virtcontainers")
AWAIT = re.compile(r"\bco_(await|return|yield)\b")
# Characters of comments and literals become blanks; line breaks stay, so that line numbers are right.
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^()\\ \n]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
                   r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.DOTALL)
CAPTURE = re.compile(r"(?:^|[(,=\s])\[[^\[\]]*[\w&=*][^\[\]]*\]\s*(?:\(|\{|mutable|->)")
BODY = re.compile(r"\)\s*(?:const\b|override\b|noexcept\b|mutable\b|->\s*[\w:<>,&* ]+)*\s*$")
CONTROL = re.compile(r"\b(?:if|for|while|switch|catch)\s*\([^{}]*$")
NAMED_BLOCK = re.compile(r"^\s*(?:struct|class|namespace|enum|union|extern|template|else|do|try)\b")

STATEMENT_RULES = (
    (1, CAPTURE, "lambda with captures in a statement with co_await; name it first or use a member function"),
    (2, re.compile(r"\{"), "braced value in a statement with co_await; make it a named local first"),
    (3, re.compile(r"\?"), "conditional expression with co_await; use if/else"),
    (4, re.compile(r"&&(?!\s*\w+\s*[:=])|\|\|"), "logical operator with co_await; await into a local first"),
)
FILE_RULES = (
    (5, re.compile(r"\basio::detached\b"), "asio::detached swallows errors; use Spawn"),
    (6, re.compile(r"(?<![\w\])])\[[&=]\]"), "lambda that captures everything in a file with coroutines"),
    (7, re.compile(r"\bCo<[^;{}]*>\s+\w+\([^;{}]*=\s*\{\}"), "default argument of class type on a coroutine"),
    (8, re.compile(r"#\s*include\s*<boost/asio\.hpp>"), "include the Asio headers you need, not all of them"),
)
ASSERTION = re.compile(r"\bASSERT_\w+\s*\(")


def blank(text):
    def spaces(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return TOKEN.sub(spaces, text)


def opens_block(before, piece):
    """Whether a brace after `before` begins statements (a body), not a value. `piece` is the statement so far."""
    return (bool(BODY.search(before)) or not piece.strip() or bool(NAMED_BLOCK.match(piece))
            or before.rstrip()[-1:] in ":}")


def statements(text):
    """Yields (offset, statement). A body inside a statement (of a lambda, an if) is yielded on its own."""
    outer = []  # per open brace: (is a body, offset, pieces, parentheses open) of the statement around it
    start, pieces, depth, last = 0, [], 0, 0
    for i, char in enumerate(text):
        if char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == ";" and depth <= 0:
            yield start, "".join(pieces) + text[last:i]
            start, pieces, depth, last = i + 1, [], 0, i + 1
        elif char == "{":
            piece = "".join(pieces) + text[last:i]
            body = opens_block(text[max(0, i - 200):i], piece)
            outer.append((body, start, [piece], depth))
            if body:
                start, pieces, depth, last = i + 1, [], 0, i + 1
        elif char == "}" and outer:
            body, begin, before, parentheses = outer.pop()
            if not body:
                continue
            yield start, "".join(pieces) + text[last:i]
            start, pieces, depth, last = begin, before, parentheses, i + 1
            if depth <= 0:  # an if, a function: the statement ends with its body
                yield start, "".join(pieces)
                start, pieces, depth = i + 1, [], 0
    yield start, "".join(pieces) + text[last:]


def bodies(text):
    """Yields (offset, body) of each function and lambda; the bodies inside of it are blank in it."""
    stack, chars = [], list(text)
    for i, char in enumerate(text):
        if char == "{":
            before = text[max(0, i - 200):i]
            stack.append((i, bool(BODY.search(before)) and not CONTROL.search(before)))
        elif char == "}" and stack:
            begin, function = stack.pop()
            if function:
                yield begin, "".join(chars[begin:i])
                chars[begin:i] = re.sub(r"[^\n]", " ", text[begin:i])


def without_condition(statement):
    """The statement behind a leading `if (...)` without braces, when nothing is awaited in the condition."""
    match = re.match(r"\s*(?:else\s+)?if\s*\(", statement)
    if not match:
        return statement
    depth = 1
    for i in range(match.end(), len(statement)):
        depth += {"(": 1, ")": -1}.get(statement[i], 0)
        if depth == 0:
            return statement if "co_await" in statement[:i] else " " * (i + 1) + statement[i + 1:]
    return statement


def check(text, is_test=False):
    """[(line, rule, message)] of one file. A test's lambdas end before it does, so they may capture everything."""
    code = blank(text)
    found = []

    def add(offset, rule, message):
        found.append((code.count("\n", 0, offset) + 1, rule, message))

    for offset, statement in statements(code):
        statement = without_condition(statement)
        at = statement.find("co_await")
        if at < 0:
            continue
        for rule, pattern, message in STATEMENT_RULES:
            if pattern.search(statement):
                add(offset + at, rule, message)
        if statement.count("co_await") > 1:
            add(offset + at, 9, "more than one co_await in a statement")
    if AWAIT.search(code):
        for rule, pattern, message in FILE_RULES:
            for match in () if is_test and rule == 6 else pattern.finditer(code):
                add(match.start(), rule, message)
        for offset, body in bodies(code):
            if AWAIT.search(body):
                for match in ASSERTION.finditer(body):
                    add(offset + match.start(), 10, "ASSERT_ returns, which a coroutine cannot; use EXPECT_")
    return sorted(set(found))


BAD = {
    1: "Co<void> F() { auto x = co_await Run([s]() { return s; }); }",
    2: "Co<void> F() { co_await Go(Opts{.name = s}); }",
    3: "Co<void> F() { co_await Go(c ? a : b); }",
    4: "Co<void> F() { if (co_await A() && co_await B()) { Go(); } }",
    5: "Co<void> F() { co_return; } void G() { co_spawn(ex, F(), asio::detached); }",
    6: "Co<void> F() { co_return; } void G() { Post([&] { H(); }); }",
    7: "Co<void> F(Opts o = {}) { co_return; }",
    8: "#include <boost/asio.hpp>\nCo<void> F() { co_return; }",
    9: "Co<void> F() { Go(co_await A(), co_await B()); }",
    10: "Co<void> F() { auto x = co_await A(); ASSERT_TRUE(x); }",
}
GOOD = (
    "Co<void> F() { auto x = co_await G(std::move(a)); if (!x.ok()) { co_return x; } }",
    "Co<void> F() { if (auto s = co_await G(); !s.ok()) { co_return s; } }",
    "Co<void> F() { while (auto p = co_await Next(i)) { Use(*p); } }",
    "Co<void> F() { auto [ec, n] = co_await Read(buffer, kTuple); }",
    "Co<int> F() { // co_await {a ? b : c}\n  co_return co_await G(\"{?}\"); }",
    "TEST(A, B) { ASSERT_TRUE(x); }\nCo<void> F() { co_return; }",
    "TEST(A, B) { Run([](Peer& p) -> Co<void> { Id id{7}; co_await G(p); for (int i : {1, 2}) { co_await G(i); } }); }",
    "Co<void> F() { for (;;) { co_await G(); if (a && b) { co_await H(); } else { co_await I(); } } }",
    "Co<void> F() { if (!a && b) c = co_await G(); }",
    "TEST(A, B) { struct T { static Co<void> Run() { co_await G(); } }; ASSERT_EQ(1, F()); }",
    "Co<void> F() { int big = 1'000'000; co_await G(big); char c = '{'; }",
)


def self_test():
    wrong = [f"rule {rule} does not find: {text}" for rule, text in BAD.items()
             if rule not in {finding[1] for finding in check(text)}]
    wrong += [f"finds {check(text)} in: {text}" for text in GOOD if check(text)]
    print("\n".join(wrong) or f"{len(BAD)} bad and {len(GOOD)} good examples: as they should be")
    return 1 if wrong else 0


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    if sys.argv[1] == "--self-test":
        return self_test()
    root = pathlib.Path(sys.argv[1])
    files = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in (".h", ".cc"))
    if not files:
        sys.exit(f'checking coroutines: no .h or .cc below "{root}"')
    count = 0
    for path in files:
        for line, rule, message in check(path.read_text(encoding="utf-8"), path.name.endswith("_test.cc")):
            print(f"{path.relative_to(root)}:{line}: [{rule}] {message}")
            count += 1
    print(f"{len(files)} files, {count} findings")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
