# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal is to do: known before there is a lab."""

from __future__ import annotations

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Plan:
    """``arguments`` go to each ``ansible-playbook``."""

    playbooks: tuple[str, ...]
    arguments: tuple[str, ...]
    report: pathlib.Path | None
    keep: bool


def find(collection: pathlib.Path, name: str) -> pathlib.Path:
    """The file of a playbook given by path, or by name as one of the collection's (``bootstrap``). Raises
    FileNotFoundError with the playbooks that there are."""
    folder = collection / "playbooks"
    for path in (pathlib.Path(name), folder / name, folder / f"{name}.yml"):
        if path.is_file():
            return path.absolute()
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yml"))) or "none"
    raise FileNotFoundError(f"no playbook {name}; the collection has: {known}")
