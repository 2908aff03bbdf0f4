# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML of the secrets room: documents in, and out as ``kubeseal -o yaml`` writes them."""

from __future__ import annotations

import functools
import typing as t

from .. import manifest_yaml
from ..errors import InvalidInput
from ..sops import sops_yaml

Document = dict[str, t.Any]


def documents(text: str, where: str) -> list[Document]:
    """The mappings of a YAML or JSON text, the members of a ``List`` each of its own. Raises InvalidInput, which quotes
    nothing of the text: it may be secret."""
    import yaml

    loader = manifest_yaml.loader(as_written=True)
    try:
        given = [document for document in yaml.load_all(text, Loader=loader) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidInput(f"{where} is not valid YAML{place}") from None
    except (ValueError, RecursionError):
        raise InvalidInput(f"{where} is not valid YAML") from None
    found: list[Document] = []
    for document in given:
        if not isinstance(document, dict):
            raise InvalidInput(f"{where} holds something else than Kubernetes objects")
        members = document.get("items") if str(document.get("kind", "")).endswith("List") else None
        for member in members if isinstance(members, list) else [document]:
            if not isinstance(member, dict):
                raise InvalidInput(f"{where} holds something else than Kubernetes objects")
            found.append(member)
    return found


def text_of(given: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Each document after its ``---``, with sorted keys and no folded lines."""
    import yaml

    # That of libyaml, where it is there, writes the same and takes an eighth of the time.
    dumper = dumper_of(getattr(yaml, "CSafeDumper", yaml.SafeDumper))
    return "".join(
        "---\n" + yaml.dump(dict(one), Dumper=dumper, sort_keys=True, default_flow_style=False, width=2**30)
        for one in given
    )


@functools.cache
def dumper_of(base: t.Any) -> t.Any:
    """One that puts text in quotes which Go's YAML, and so Kubernetes, reads as something else: ``1e3`` is a number there."""

    class Dumper(base):
        pass

    def text(dumper: t.Any, value: str) -> t.Any:
        quotes = None if sops_yaml.is_text(sops_yaml.resolve(value)) else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=quotes)

    Dumper.add_representer(str, text)
    return Dumper
