# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to the Proxmox VE API: logged in, repeated where that is safe, every refusal an error with a cause.

A read is repeated when its answer was lost. A write is repeated only when it is certain that nothing was done:
no connection, no worker, a lock, HTTP 429. When a write's answer was lost, :class:`answers.AnswerLost` is raised, and
whoever planned has to look and plan again.
"""

from __future__ import annotations

import threading
import typing as t
import urllib.parse

from ...errors import HomelabError, ServerFault, Unauthenticated, Unreachable
from ...waiting import Backoff, Clock, Deadline, no_progress
from ...web import AnswerLost, NeverSent
from .answers import Busy, Locked, NoWorker, judge
from .connection import Connection
from .transport import Transport

Values = t.Mapping[str, t.Any]

#: Pauses between the attempts of a request that did not get through; locks have a deadline of their own.
_ATTEMPTS = (0.2, 0.5, 1.0)


def segment(text: object) -> str:
    """Quoted for use as one part of a path: a volume id, a node."""
    return urllib.parse.quote(str(text), safe=":@!")


class Session:
    """One login and a few connections for all of a task. Thread-safe."""

    def __init__(
        self,
        connection: Connection,
        *,
        progress: t.Callable[[str], None] = no_progress,
        clock: Clock | None = None,
    ) -> None:
        self.connection = connection
        self.of = f"Proxmox VE at {connection.address}"
        self.progress = progress
        self.clock = clock or Clock()
        self._transport = Transport(connection)
        self._login = threading.Lock()
        self._of_thread = threading.local()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._transport.close()

    def get(self, path: str, query: Values | None = None, *, asked: str = "") -> t.Any:
        """The ``data`` of the answer. Repeated when the answer was lost or broken."""
        return self._attempts("GET", path, query or {}, asked or f"read {path}")

    def post(self, path: str, form: Values | None = None, *, asked: str) -> t.Any:
        return self._write("POST", path, form or {}, asked)

    def put(self, path: str, form: Values, *, asked: str) -> t.Any:
        return self._write("PUT", path, form, asked)

    def delete(self, path: str, query: Values | None = None, *, asked: str) -> t.Any:
        return self._write("DELETE", path, query or {}, asked)

    @property
    def taken(self) -> int:
        """How many writes of this thread the server has taken."""
        return int(getattr(self._of_thread, "taken", 0))

    def deadline(self, seconds: float | None = None) -> Deadline:
        return Deadline(self.connection.task_timeout if seconds is None else seconds, self.clock)

    def _write(self, method: str, path: str, values: Values, asked: str) -> t.Any:
        """Wait while somebody else holds the lock: the server says so before it does anything."""
        answer = while_locked(
            lambda: self._attempts(method, path, values, asked), deadline=self.deadline(), progress=self.progress
        )
        self._of_thread.taken = self.taken + 1
        return answer

    def _attempts(self, method: str, path: str, values: Values, asked: str) -> t.Any:
        for pause in _ATTEMPTS:
            try:
                return self._once(method, path, values, asked)
            except HomelabError as error:
                if not _repeatable(error, method == "GET"):
                    raise
                pause = float(error.details.get("retry_after", pause))
                self.progress(f"{error.message} Trying again in {pause:.1f} s")
            self.clock.sleep(min(pause, 30.0))
        return self._once(method, path, values, asked)

    def _once(self, method: str, path: str, values: Values, asked: str) -> t.Any:
        """One request; a ticket that has expired is renewed once, as a 401 comes before anything is done."""
        ticket = self._transport.ticket
        used = self._logged_in()
        try:
            return self._ask(method, path, values, asked)
        except Unauthenticated:
            if ticket is None:
                raise
        self._logged_in(instead_of=used)
        return self._ask(method, path, values, asked)

    def _ask(self, method: str, path: str, values: Values, asked: str) -> t.Any:
        answer = self._transport.exchange(method, path, values, asked=asked, of=self.of)
        try:
            return judge(answer, asked=asked, of=self.of, who=self.connection.who)
        except (ServerFault, Unreachable) as error:
            if method != "GET" and not isinstance(error, (NoWorker, Busy)):
                raise AnswerLost(asked, of=self.of, answer=error.answer, hint=error.hint) from error
            raise

    def _logged_in(self, instead_of: str | None = None) -> str:
        """The ticket to use; a new one where there is none, or only the one that was refused."""
        ticket = self._transport.ticket
        if ticket is None:
            return ""
        with self._login:
            if not ticket.ticket or ticket.ticket == instead_of:
                self._log_in()
            return ticket.ticket

    def _log_in(self) -> None:
        ticket = self._transport.ticket
        if ticket is None:
            return
        ticket.ticket = ""
        who = self.connection.user
        form = {"username": who, "password": self.connection.password}
        asked = f"log in as {who}"
        answer = self._transport.exchange("POST", "/access/ticket", form, asked=asked, of=self.of)
        data = judge(answer, asked=asked, of=self.of, who=who)
        if not isinstance(data, dict) or not data.get("ticket") or data.get("NeedTFA"):
            raise Unauthenticated(
                asked,
                of=self.of,
                answer="the server asks for a second factor",
                hint="Use an API token (api_token_id and api_token_secret).",
            )
        ticket.ticket, ticket.csrf = data["ticket"], data.get("CSRFPreventionToken", "")


class NoRecords(ServerFault):
    """Whoever answered is no Proxmox VE API, so asking again does not help."""

    retryable = False


def listing(
    session: Session, path: str, key: str, query: t.Mapping[str, t.Any] | None = None, *, asked: str
) -> list[dict[str, t.Any]]:
    """A list of records that all have ``key``; raises :class:`NoRecords` for an answer that is something else."""
    return records_in(session, session.get(path, query, asked=asked), key, asked=asked)


def records_in(session: Session, found: t.Any, key: str, *, asked: str) -> list[dict[str, t.Any]]:
    """What was found, if it is a list of records that all have ``key``; raises :class:`NoRecords` otherwise."""
    if not isinstance(found, list) or not all(isinstance(entry, dict) and key in entry for entry in found):
        raise no_records(session, asked, f"no list of records with {key!r}", found)
    return found


def record(session: Session, path: str, query: t.Mapping[str, t.Any] | None = None, *, asked: str) -> dict[str, t.Any]:
    """One record, empty for nothing; raises :class:`NoRecords` for an answer that is something else."""
    found = session.get(path, query, asked=asked)
    if found is not None and not isinstance(found, dict):
        raise no_records(session, asked, "no record", found)
    return found or {}


def no_records(session: Session, asked: str, what: str, found: t.Any) -> NoRecords:
    """``what`` the answer is not (``no record``); what it is instead is said by its kind, as it may hold anything."""
    hint = "Are api_host and api_port those of a Proxmox VE API?"
    return NoRecords(asked, of=session.of, answer=f"the answer is JSON, but {what}: {_kind(found)}", hint=hint)


def _kind(found: t.Any) -> str:
    """``a text``, ``a list of 3 (numbers)``, ``an object with status, error``."""
    if isinstance(found, dict):
        return f"an object with {', '.join(str(key)[:20] for key in list(found)[:5])}" if found else "an empty object"
    if isinstance(found, list):
        kinds = sorted({_WORDS.get(type(one).__name__, "something else") for one in found})
        return f"a list of {len(found)} ({', '.join(kinds)})" if found else "an empty list"
    return _WORDS.get(type(found).__name__, "something else")


#: What a part of JSON is called.
_WORDS = {
    "bool": "true or false",
    "dict": "an object",
    "float": "a number",
    "int": "a number",
    "list": "a list",
    "NoneType": "nothing",
    "str": "a text",
}


def while_locked(
    what: t.Callable[[], t.Any], *, deadline: Deadline, progress: t.Callable[[str], None] = no_progress
) -> t.Any:
    """Do ``what`` again while it fails because of a lock; past the deadline the last error is raised."""
    for pause in Backoff(first=0.3, factor=1.5, most=5.0).pauses():
        try:
            return what()
        except Locked as error:
            if deadline.over():
                raise
            progress(f"{error.message} Waiting for it ({deadline.elapsed():.0f} s)")
        deadline.clock.sleep(min(pause, max(deadline.left(), 0.001)))
    raise RuntimeError("the pauses never end")


def _repeatable(error: HomelabError, reading: bool) -> bool:
    if isinstance(error, (NoWorker, Busy)):
        return True
    if isinstance(error, NeverSent):
        return bool(error.details.get("again", True))
    if isinstance(error, AnswerLost) and "no answer within" in error.answer:
        return False
    return reading and isinstance(error, (ServerFault, Unreachable))
