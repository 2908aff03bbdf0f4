# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same question to several nodes at once. What goes wrong with one node is that node's answer, not the others'."""

from __future__ import annotations

import pathlib
import typing as t

from ..errors import HomelabError, InvalidInput
from ..task import Task
from . import credentials, inputs, talosconfig
from .inputs import Node
from .node import Connector
from .pool import in_pool

#: How often a node is asked that answers with errors which may pass.
ATTEMPTS = 2

T = t.TypeVar("T")
Answer = dict[str, t.Any]


def connector(task: Task) -> Connector:
    return Connector(credentials.from_params(task), inputs.positive(task.params["timeout"], "timeout"))


def nodes_from(task: Task, option: str = "nodes") -> list[Node]:
    """The option: addresses, or mappings with a name and an address. By default the talosconfig's endpoints."""
    given = task.params.get(option) or []
    nodes = [_node(one, f"{option}[{index}]") for index, one in enumerate(given)] if given else _endpoints(task, option)
    for field in ("name", "address"):
        found = [getattr(node, field) for node in nodes]
        twice = sorted({value for value in found if found.count(value) > 1})
        if twice:
            raise InvalidInput(f"{option} has the {field} {', '.join(twice)} more than once")
    return nodes


def each(nodes: t.Sequence[Node], ask: t.Callable[[Node], Answer]) -> list[Answer]:
    """``{name, address, reachable, **what ask gives}`` of each node, or with ``error`` in place of what it gives."""

    def answer(node: Node) -> Answer:
        named = {"name": node.name, "address": node.address}
        try:
            return {**named, "reachable": True, **_patiently(lambda: ask(node))}
        except HomelabError as error:
            return {**named, "reachable": False, "error": told(error)}

    return in_pool(answer, nodes)


def told(error: HomelabError) -> Answer:
    """An error as a part of a result."""
    return {"msg": error.message, **error.as_result()}


def judge(task: Task, answers: t.Sequence[Answer]) -> list[str]:
    """Names of the nodes that did not answer, after what ``on_error`` asks for: silence, a warning, or an error.

    When nobody answers, a warning is too little: that is an error as well, but for ``ignore``.
    """
    action = task.params["on_error"]
    silent = [answer for answer in answers if not answer["reachable"]]
    problems = [answer["error"]["msg"] for answer in silent]
    problems += [problem["msg"] for answer in answers for problem in answer.get("problems", [])]
    if action == "fail" and problems:
        raise _all_of("get an answer of each node", problems)
    if action == "warn" and silent and len(silent) == len(answers):
        raise _all_of("get an answer of any node", problems)
    if action == "warn":
        for problem in problems:
            task.warn(problem)
    return [answer["name"] for answer in silent]


def _patiently(ask: t.Callable[[], T]) -> T:
    """Ask again when an answer was lost or broken on the way. A node that cannot be reached is not asked twice."""
    for _attempt in range(ATTEMPTS - 1):
        try:
            return ask()
        except HomelabError as error:
            if not error.retryable or "rpc" not in error.details or error.details["code"] == "DEADLINE_EXCEEDED":
                raise
    return ask()


def _all_of(asked: str, problems: t.Sequence[str]) -> HomelabError:
    return HomelabError(asked, answer=" ".join(problems), hint="See on_error.", problems=list(problems))


def _node(given: t.Any, where: str) -> Node:
    if isinstance(given, str):
        found = inputs.address(given, where)
        return Node(found, found, "controlplane")
    if not isinstance(given, dict) or not isinstance(given.get("address"), str):
        raise InvalidInput(
            f"{where} is {given!r}", hint="Give an address, or a mapping with an address and a name of the node."
        )
    unknown = sorted(str(key) for key in set(given) - {"name", "address", "type"})
    if unknown:
        raise InvalidInput(f"{where} has {', '.join(unknown)}", hint="A node has a name, an address and a type.")
    found = inputs.address(given["address"], f"{where}.address")
    return Node(str(given.get("name") or found), found, "controlplane")


def _endpoints(task: Task, option: str) -> list[Node]:
    config = credentials.option(task.params, "talosconfig")
    if credentials.bundle_path(task.params) is not None or config is None:
        raise InvalidInput(f"{option} is empty", hint="Only a talosconfig knows endpoints of its own.")
    context = talosconfig.load(pathlib.Path(config).expanduser(), task.params.get("context"))
    if not context.endpoints:
        raise InvalidInput(f"{option} is empty, and the context {context.name} of {config} has no endpoints")
    return [_node(str(one), f"endpoints[{index}] of {config}") for index, one in enumerate(context.endpoints)]
