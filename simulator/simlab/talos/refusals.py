# SPDX-License-Identifier: GPL-3.0-or-later
"""gRPC errors that the node answers, as exceptions: the code's Go name and the text."""

from __future__ import annotations

from grpclib import Status


class Refusal(Exception):
    """The request is answered with ``status`` and ``text``."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def invalid(text: str) -> Refusal:
    return Refusal(Status.INVALID_ARGUMENT, text)


def precondition(text: str) -> Refusal:
    return Refusal(Status.FAILED_PRECONDITION, text)


def denied(text: str = "not authorized") -> Refusal:
    return Refusal(Status.PERMISSION_DENIED, text)


def unimplemented(text: str) -> Refusal:
    return Refusal(Status.UNIMPLEMENTED, text)


def not_found(text: str) -> Refusal:
    return Refusal(Status.NOT_FOUND, text)


def unknown(text: str) -> Refusal:
    return Refusal(Status.UNKNOWN, text)


def unavailable(text: str) -> Refusal:
    return Refusal(Status.UNAVAILABLE, text)


def not_simulated(what: str) -> Refusal:
    """For what a real node could do and the simulated one cannot: it says so, it never pretends."""
    return Refusal(Status.UNIMPLEMENTED, f"{what} is not simulated")
