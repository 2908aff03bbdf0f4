# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gRPC status means in the collection's error family."""

from __future__ import annotations

import typing as t

from .. import errors

#: Status codes in the order of their numbers.
CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)

_KINDS: dict[str, type[errors.HomelabError]] = {
    "CANCELLED": errors.Unreachable,
    "UNKNOWN": errors.ServerFault,
    "INVALID_ARGUMENT": errors.Refused,
    "DEADLINE_EXCEEDED": errors.Unreachable,
    "NOT_FOUND": errors.NotFound,
    "ALREADY_EXISTS": errors.Conflict,
    "PERMISSION_DENIED": errors.AccessDenied,
    "RESOURCE_EXHAUSTED": errors.ServerFault,
    "FAILED_PRECONDITION": errors.Refused,
    "ABORTED": errors.Conflict,
    "OUT_OF_RANGE": errors.Refused,
    "UNIMPLEMENTED": errors.Refused,
    "INTERNAL": errors.ServerFault,
    "UNAVAILABLE": errors.Unreachable,
    "DATA_LOSS": errors.ServerFault,
    "UNAUTHENTICATED": errors.Unauthenticated,
}

_HINTS = {
    "PERMISSION_DENIED": "The client certificate needs the role os:admin, or the node is in maintenance mode, "
    "where this call is not allowed.",
    "DEADLINE_EXCEEDED": "The node is busy or hangs; its console says more.",
}

#: What HTTP says when no gRPC server answered: the gRPC protocol's own table.
HTTP_STATUS = {"401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED", "404": "UNIMPLEMENTED"}


def code_name(number: str) -> str:
    """``"5"`` is ``NOT_FOUND``; an unknown number stays a number."""
    return CODES[int(number)] if number.isdigit() and int(number) < len(CODES) else f"code {number}"


def error(code: str, message: str, *, rpc: str, of: str, hint: str = "") -> errors.HomelabError:
    """The error for a status; ``details`` carry ``code`` and ``rpc``."""
    kind = _KINDS.get(code, errors.ServerFault)
    return kind(
        f"call {rpc}", of=of, answer=f"{code}: {message}", hint=hint or _HINTS.get(code, ""), code=code, rpc=rpc
    )


def code_of(failure: errors.HomelabError) -> str:
    """The gRPC code that an error came from, or the empty string."""
    return t.cast(str, failure.details.get("code", ""))
