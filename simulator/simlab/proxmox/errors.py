# SPDX-License-Identifier: GPL-3.0-or-later
"""How a request or a task ends that does not succeed, in the words of the real API."""

from __future__ import annotations

import typing as t


class ApiError(Exception):
    """A request is refused: ``status``, ``text`` (status line and message), ``errors`` per parameter."""

    def __init__(self, status: int, text: str, errors: t.Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.errors = errors


class Failure(ApiError):
    """A plain ``die``: 500 before a task, the exit status in one."""

    def __init__(self, text: str) -> None:
        super().__init__(500, text)


class ParameterError(ApiError):
    """400 with the texts per parameter."""

    def __init__(self, errors: t.Mapping[str, str]) -> None:
        super().__init__(400, "Parameter verification failed.", errors)


class Nested(ApiError):
    """A parameter error that the real code raises inside another one: it arrives as 500 ``400 …``, after ``prefix``."""

    def __init__(self, name: str, text: str, prefix: str = "") -> None:
        super().__init__(500, f"{prefix}400 Parameter verification failed.\n{name}: {text}")


class Forbidden(ApiError):
    """403; ``what`` is what stands in the brackets (``/vms/160, VM.Audit``)."""

    def __init__(self, what: str = "") -> None:
        super().__init__(403, f"Permission check failed ({what})" if what else "Permission check failed")


class NotSimulated(ApiError):
    """The real server has it, this one does not: said aloud instead of pretending."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(501, f"'{method} {path}' is not simulated")


class Skip(Exception):
    """An option cannot be changed while the guest runs: it stays pending."""


def task_text(error: BaseException) -> str:
    """An error as a task tells it: with its code when it has one, and one line for each parameter."""
    if not isinstance(error, ApiError) or error.status == 500:
        return str(error).removesuffix("\n")
    lines = [
        f"{error.status} {error.text}",
        *(f"{name}: {text}" for name, text in sorted((error.errors or {}).items())),
    ]
    return "\n".join(lines).removesuffix("\n")
