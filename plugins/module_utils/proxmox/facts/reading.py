# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that only look things up have in common."""

from __future__ import annotations

import re
import typing as t

from ...errors import HomelabError, InvalidInput, Unauthenticated
from ...task import Task
from ...web import NeverSent
from ..api.connection import Connection
from ..api.names import NODE, VMIDS
from ..api.session import Session, listing

T = t.TypeVar("T")


def opened(task: Task) -> Session:
    """A session for the connection of a task, whose secrets are kept out of all that it says."""
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret)
    return Session(connection, progress=task.progress)


def online(session: Session) -> dict[str, bool]:
    """Node -> whether it is there."""
    nodes = listing(session, "/nodes", "node", asked="list the nodes")
    return {str(entry["node"]): entry.get("status") == "online" for entry in nodes}


def checked(option: str, given: t.Sequence[str] | None, pattern: re.Pattern[str] = NODE) -> list[str]:
    """Names that may stand in a path. Raises :class:`InvalidInput`."""
    for name in given or ():
        if not pattern.fullmatch(name):
            raise InvalidInput(f"{option} {name!r} is not valid", hint="Write the name as the web interface shows it.")
    return list(given or ())


def check_vmids(vmids: t.Iterable[int]) -> None:
    for vmid in vmids:
        if vmid not in VMIDS:
            raise InvalidInput(f"vmid {vmid} is no id of a guest", hint="They are between 100 and 999999999.")


def attempt(errors: dict[str, str], fact: str, read: t.Callable[[], T]) -> T | None:
    """What is read; None where it could not be, which ``errors`` says then. That nobody answers at all, or that
    nobody knows who is asking, is raised: it is not an error of one thing among others.
    """
    try:
        return read()
    except (Unauthenticated, NeverSent):
        raise
    except HomelabError as error:
        errors[fact] = error.message
        return None
