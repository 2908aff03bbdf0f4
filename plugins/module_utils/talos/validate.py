# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a machine config, before a node is asked. Stricter than the node, which takes a good deal of
nonsense (a machine authority that is no certificate, a network /99, a config without tokens).
"""

from __future__ import annotations

import typing as t

from ..errors import InvalidInput
from . import checks, config_schema
from .identity import Document
from .versions import Version


def config(documents: t.Sequence[Document], *, node: str, machine_type: str, talos: Version) -> None:
    """Raise :class:`errors.InvalidInput` with every problem and its path."""
    found = list(problems(documents, machine_type=machine_type, talos=talos))
    if found:
        raise InvalidInput(
            f"The machine config of {node} is not valid: {'; '.join(found)}",
            hint="Look at the patches: they are merged into what is generated.",
        )


def problems(documents: t.Sequence[t.Any], *, machine_type: str, talos: Version) -> t.Iterator[str]:
    """Everything that is wrong, each with the document and the path in it."""
    structure = list(checks.structure(documents))
    yield from structure
    if structure:
        return
    yield from checks.unknown_kinds(documents, talos)
    shapes = [problem for document in documents for problem in config_schema.problems(document)]
    yield from shapes
    if shapes:
        return
    yield from checks.main_document(checks.main(documents), machine_type=machine_type, talos=talos)
    yield from checks.other_documents(documents)
