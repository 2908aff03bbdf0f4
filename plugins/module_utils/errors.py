# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error family: what was asked, of whom, what came back, what to try.

Rooms raise these and nothing else on purpose. Only :mod:`task` turns one into a
failed task, so a message has the same shape whichever way a module was run.
"""

from __future__ import annotations

import typing as t


class HomelabError(Exception):
    """Something that was asked for could not be done.

    ``asked`` is the request in the user's words (``create VM 200 (talos-cp01)``), ``of`` whom it
    was asked of (``Proxmox node pve1 at https://192.168.30.10:8006``), ``answer`` what came
    back, word by word, ``hint`` what to try. ``details`` reach the task's result as they are, so
    they must hold no secrets.
    """

    #: True when asking again later may succeed without anybody changing anything.
    retryable = False

    #: True when it may have been done all the same.
    perhaps_done = False

    def __init__(
        self,
        asked: str,
        *,
        of: str = "",
        answer: str = "",
        hint: str = "",
        **details: t.Any,
    ) -> None:
        self.asked = asked
        self.of = of
        self.answer = answer.strip()
        self.hint = hint.strip()
        self.details = details
        #: The changes (``Change.as_result()``) that were made before this happened.
        self.made: list[dict[str, t.Any]] = []
        #: Those that may have been made, as nobody could tell.
        self.begun: list[dict[str, t.Any]] = []
        super().__init__(self.message)

    @property
    def message(self) -> str:
        text = f"Could not {self.asked}"
        if self.of:
            text += f" ({self.of})"
        if self.answer:
            text += f": {self.answer}"
        if not text.endswith((".", "!", "?")):
            text += "."
        return f"{text} {self.hint}" if self.hint else text

    def as_result(self) -> dict[str, t.Any]:
        """The keys that a failed task shows besides ``msg``."""
        error: dict[str, t.Any] = {"kind": type(self).__name__, "asked": self.asked}
        for key, value in (("of", self.of), ("answer", self.answer), ("hint", self.hint)):
            if value:
                error[key] = value
        error.update(self.details)
        return error


class InvalidInput(HomelabError):
    """The user's input is wrong; nothing was called, or nothing was written."""

    def __init__(self, problem: str, *, hint: str = "", **details: t.Any) -> None:
        self.problem = problem
        super().__init__("use the given input", answer=problem, hint=hint, **details)

    @property
    def message(self) -> str:
        text = self.problem if self.problem.endswith((".", "!", "?")) else f"{self.problem}."
        return f"{text} {self.hint}" if self.hint else text


class MissingDependency(HomelabError):
    """A Python package that the room needs is not installed."""

    def __init__(self, package: str, *, reason: str = "") -> None:
        super().__init__(
            f"import the Python package {package}",
            of="the Python that runs Ansible",
            answer=reason,
            hint=f"Install it there, for example with: pip install {package}",
        )


class Absent:
    """Stands for a package that is not installed: the module that wants it can be imported, and says so when it is used."""

    def __init__(self, package: str, reason: ImportError) -> None:
        self._package = package
        self._reason = str(reason)

    def __getattr__(self, name: str) -> t.NoReturn:
        raise MissingDependency(self._package, reason=self._reason)


class Unreachable(HomelabError):
    """Nobody answered: name look-up, connection, or TLS with an unknown peer failed."""

    retryable = True


class Unauthenticated(HomelabError):
    """The server does not know who is asking, or no longer does."""


class AccessDenied(HomelabError):
    """The server knows who is asking and refuses."""


class NotFound(HomelabError):
    """The thing that was asked for is not there."""


class Conflict(HomelabError):
    """Somebody else changed or holds the thing meanwhile."""

    retryable = True


class Refused(HomelabError):
    """The server understood the request and judged it invalid or impossible."""


class ServerFault(HomelabError):
    """The server failed by its own account (HTTP 5xx, a broken answer)."""

    retryable = True


class TaskFailed(HomelabError):
    """Work that the server had accepted ended in an error."""


class WaitTimeout(HomelabError):
    """A wait's deadline passed; the answer is the last reason why it was not there yet."""
