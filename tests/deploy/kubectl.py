"""Stands where kubectl is while a page's commands are tried without a cluster.

What needs no cluster, kubectl itself does: it renders, makes Secrets, and knows its options. What is applied is kept in
the file that $CLUSTER names, as JSON lines, and whatever a command names must have been applied before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

KUBECTL, CLUSTER = os.environ.get("KUBECTL", ""), Path(os.environ.get("CLUSTER", os.devnull))
SUBCOMMANDS = {"rollout": 2, "create": 3}
"""Words that a command consists of, where they are more than one."""
NAMING = ("rollout", "exec", "logs", "annotate", "describe", "get")
RENDERING = ("apply", "diff", "delete")
WITHOUT_TRACE = ("label", "drain", "uncordon")
"""About nodes."""


def main(words: list[str]) -> None:
    """Run one command. Ends with a message where a cluster would have said no."""
    namespace = ""
    if words[0] == "-n":
        namespace, words = words[1], words[2:]
    command, rest = words[0], words[SUBCOMMANDS.get(words[0], 1) :]
    own, inside = (rest[: rest.index("--")], rest[rest.index("--") + 1 :]) if "--" in rest else (rest, [])
    check_flags(words[: SUBCOMMANDS.get(command, 1)], own)
    if command in RENDERING:
        objects = list(rendered(own))
        keep(objects) if command == "apply" else None
    elif command == "create" and words[1] == "job":  # which asks the cluster for what it copies
        check_name(namespace, [word.removeprefix("--from=") for word in words if word.startswith("--from=")])
    elif command == "create":
        keep(yaml.safe_load_all(kubectl("-n", namespace, *words, "--dry-run=client", "--output", "yaml")))
    elif command in NAMING:
        check_name(namespace, [word for word in own if not word.startswith("-")])
        check_inside(inside)
    elif command not in WITHOUT_TRACE:
        sys.exit(f"{command}: what would that do?")


def kubectl(*words: str) -> str:
    """The real one."""
    done = subprocess.run([KUBECTL, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"kubectl {' '.join(words)}: {done.stderr}")
    return done.stdout


def check_flags(command: Sequence[str], words: Sequence[str]) -> None:
    """Every option is one that kubectl has for this command."""
    shown = kubectl(*command, "--help")
    for flag in (word.partition("=")[0] for word in words if word.startswith("-")):
        if f"{flag}=" not in shown and f"{flag}, --" not in shown:
            sys.exit(f"{' '.join(command)}: there is no option {flag}")


def rendered(words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What -k FOLDER or -f FILE stands for."""
    text = kubectl("kustomize", words[1]) if words[0] == "-k" else Path(words[1]).read_text("utf-8")
    yield from yaml.safe_load_all(text)


def keep(objects: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> None:
    """Add to what is there."""
    with CLUSTER.open("a") as file:
        file.writelines(json.dumps(manifest) + "\n" for manifest in objects)


def applied() -> Iterator[tuple[str, str, str]]:
    """Kind, name and namespace of what is there."""
    for manifest in map(json.loads, CLUSTER.read_text("utf-8").splitlines()):
        metadata = manifest["metadata"]
        yield manifest["kind"].lower(), metadata["name"], metadata.get("namespace", "")


def check_name(namespace: str, words: list[str]) -> None:
    """`kind/name`, or `kind name`, has been applied; nothing is said of a kind alone, nor of a path of the API."""
    kind, slash, name = words[0].partition("/")
    name = name if slash else next(iter(words[1:]), "")
    if kind and name and (kind, name, namespace) not in set(applied()):
        sys.exit(f"there is no {kind}/{name} in the namespace {namespace!r}")


def check_inside(words: list[str]) -> None:
    """What is to be run in a pod, if it is ours, parses."""
    if words[:1] == ["alphadrop"]:
        from watcher.cli import build_parser

        build_parser().parse_args(words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
