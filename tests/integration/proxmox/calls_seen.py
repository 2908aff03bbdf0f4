# SPDX-License-Identifier: GPL-3.0-or-later
"""Which requests each module makes, as the tests see it: for the table in ``docs/modules.md``.

With ``GROUNDWORK_CALLS=<file>`` each kind of request (module, method, path of the API's description) is added to that file;
``scripts/docs.py --calls <file>`` takes it over into ``calls.txt`` beside this file.
"""

from __future__ import annotations

import os
import sys
import typing as t

if t.TYPE_CHECKING:
    from simlab.ledger import Entry

VARIABLE = "GROUNDWORK_CALLS"
_seen: set[str] = set()


def note(module: t.Any, requests: t.Iterable[Entry]) -> None:
    """Append what is new. A line is written at once, so that several workers can share the file."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    for line in sorted({line for entry in requests if (line := _line(module, entry))} - _seen):
        _seen.add(line)
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def _line(module: t.Any, entry: Entry) -> str:
    api_judge = sys.modules.get("api_judge")  # imported by the judge of all requests, if there is one
    found = api_judge.template(entry.verb, entry.path) if api_judge else None
    known = found and not entry.refused and entry.path != "/access/ticket"
    return f"{module.__name__.rpartition('.')[2]} {entry.verb} {found[0]}" if found and known else ""
