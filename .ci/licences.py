"""Checks that the licence of every dependency in Cargo.lock is one that deny.toml allows, and that all come from
crates.io. Usage: python3 .ci/licences.py, in the folder of Cargo.toml."""

import json
import re
import subprocess
import sys

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def allowed_licences(path):
    """The strings of the `allow` list. Without tomllib, which Python has only since 3.11."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    allow = re.search(r"^allow = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    if allow is None:
        sys.exit(f"{path} has no list `allow`")
    return set(re.findall(r'^\s*"([^"]+)"', allow.group(1), re.MULTILINE))


def satisfied(expression, allowed):
    """Whether an SPDX expression can be met with allowed licences; `/` is an old way to write OR."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    at = 0

    def term():
        nonlocal at
        token, at = tokens[at], at + 1
        if token == "(":
            value = either()
            at += 1  # the closing parenthesis
            return value
        if at < len(tokens) and tokens[at] == "WITH":
            # An exception only allows more.
            at += 2
        return token in allowed

    def both():
        nonlocal at
        value = term()
        while at < len(tokens) and tokens[at] == "AND":
            at += 1
            value = term() and value
        return value

    def either():
        nonlocal at
        value = both()
        while at < len(tokens) and tokens[at] == "OR":
            at += 1
            value = both() or value
        return value

    return either()


def main():
    allowed = allowed_licences("deny.toml")
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    packages = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    faults = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package["license"]
        if licence is None or not satisfied(licence, allowed):
            faults.append(f"{name}: licence {licence or 'not stated'} is not in deny.toml")
        if package["source"] not in (None, CRATES_IO):
            faults.append(f"{name}: comes from {package['source']}")
    if faults:
        sys.exit("\n".join(faults))
    print(f"licences: {len(packages)} packages, all allowed")


main()
