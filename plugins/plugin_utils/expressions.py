# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables a Jinja expression of an inventory file names, found without evaluating it."""

from __future__ import annotations

import typing as t

import jinja2
import jinja2.nodes
import jinja2.parser

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput

#: Names behind which any variable may be.
ANYTHING = frozenset({"hostvars", "lookup", "q", "query", "vars"})


def names(where: str, expression: object) -> set[str]:
    """Raises :class:`InvalidInput` when it is no expression; ``where`` says whose it is."""
    try:
        parser = jinja2.parser.Parser(jinja2.Environment(), str(expression), state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise jinja2.TemplateSyntaxError("more follows after its end", parser.stream.current.lineno)
    except jinja2.TemplateSyntaxError as error:
        hint = "Write it without braces, for example: proxmox_status == 'running'."
        raise InvalidInput(
            f"{where}: {str(expression)!r} is no Jinja expression: {error.message}", hint=hint
        ) from error
    found = {node.name for node in tree.find_all(jinja2.nodes.Name)}
    return found | ({tree.name} if isinstance(tree, jinja2.nodes.Name) else set())


def split(
    expressions: t.Iterable[str], late: t.Collection[str], *, where: str = "filters"
) -> tuple[list[str], list[str]]:
    """Those that can be judged at once, and those that name one of ``late`` (or may do so)."""
    at_once: list[str] = []
    later: list[str] = []
    for expression in expressions:
        (later if names(where, expression) & (set(late) | ANYTHING) else at_once).append(expression)
    return at_once, later
