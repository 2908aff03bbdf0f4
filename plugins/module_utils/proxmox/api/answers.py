# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of the Proxmox VE API means.

Proxmox VE puts the reason into the status line and answers 500 to nearly everything that it refuses, so the text
decides. Measured on 9.1.8.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ...errors import AccessDenied, Conflict, HomelabError, NotFound, Refused, ServerFault, Unauthenticated, Unreachable
from ...web import Special
from ..access.roles import holding


@dataclasses.dataclass(frozen=True)
class Answer:
    """One HTTP answer, as it came. Header names in lower case."""

    status: int
    reason: str
    headers: t.Mapping[str, str]
    body: bytes


class Locked(Conflict, Special):
    """Somebody else works on the guest; nothing was done."""


class NoWorker(ServerFault, Special):
    """The node could not start a worker process; nothing was done."""


class Busy(ServerFault, Special):
    """The server asks for patience (HTTP 429); nothing was done. ``details['retry_after']`` in seconds."""


#: Text of a refusal -> what it is, and what to try. The first that matches.
_TEXTS: tuple[tuple[re.Pattern[str], type[HomelabError], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, hint)
    for pattern, kind, hint in (
        (r"can't lock file|(VM|CT) is locked|is locked \(", Locked, "Something else works on the guest, see its lock."),
        (r"got no worker upid|start worker failed", NoWorker, ""),
        (r"checksum mismatch \(file change|detected modified configuration", Conflict, "Run the task again."),
        (r"hostname lookup .* failed", NotFound, "Is the name of the node right? See the list of nodes in the web interface."),
        (r"unable to create (VM|CT) \d+ - .*already exists|(VM|CT) \d+ already exists", Conflict, "If it cannot be seen, the right VM.Audit on it is missing."),
        (r"does not exist|no such ", NotFound, ""),
        (r"no route to host|connection refused|connection timed out|proxy error", Unreachable, "The node may be offline."),
        (r"only root can|only root may", AccessDenied, "Only root@pam with a password may do this, no API token."),
    )
)  # fmt: skip

_RIGHT = re.compile(r"\((?P<path>/[^,]*),\s*(?P<rights>[^)]+)\)")

#: Which role of the documentation has the right: the prefix of a privilege -> a hint.
_ROLES = (
    ("Sys.Modify", "It belongs to the role AnsibleSystem, on the path /."),
    ("Sys.Console", "It belongs to the role AnsibleSystem, on the path /."),
    ("Pool.Allocate", "It belongs to the role AnsiblePools, on the pool's path."),
)

_WRONG_SERVER = "Are api_host and api_port those of a Proxmox VE API?"


def judge(answer: Answer, *, asked: str, of: str, who: str) -> t.Any:
    """The ``data`` of a good answer; raises the error that a bad one means.

    ``who`` is the user or token that asked. A 200 whose body is not what the API sends is a :class:`ServerFault`.
    """
    if answer.status == 200:
        return _data(answer, asked, of)
    if 300 <= answer.status < 400:
        target = answer.headers.get("location", "somewhere else")
        raise Refused(asked, of=of, answer=f"the answer is a redirect to {target}", hint=_WRONG_SERVER)
    raise judge_error(answer, asked=asked, of=of, who=who)


def _data(answer: Answer, asked: str, of: str) -> t.Any:
    if _is_html(answer):
        answer_text = "the answer is a web page instead of JSON"
        raise ServerFault(asked, of=of, answer=answer_text, hint=_WRONG_SERVER)
    body = _json(answer)
    if not isinstance(body, dict) or "data" not in body:
        start = answer.body[:80].decode("utf-8", "replace")
        raise ServerFault(asked, of=of, answer=f"200 {answer.reason} with a body that is not the API's: {start!r}")
    return body["data"]


def judge_error(answer: Answer, *, asked: str, of: str, who: str) -> HomelabError:
    """Each status has its meaning; where the text decides, it does."""
    text = _text(answer)
    facts: dict[str, t.Any] = {"status": answer.status, **_errors(answer)}
    if answer.status == 401:
        return _unauthenticated(text, asked, of, who, facts)
    if answer.status == 403:
        return _denied(text, asked, of, who, facts)
    if answer.status == 429:
        return Busy(asked, of=of, answer=text, retry_after=_seconds(answer.headers.get("retry-after", "")), **facts)
    if answer.status == 501:
        hint = "Is this a Proxmox VE of version 8.4 or newer, and api_port the port of its API?"
        return Refused(asked, of=of, answer=f"501 {text}", hint=hint, **facts)
    if answer.status in (595, 596, 597, 598, 599):
        return Unreachable(asked, of=of, answer=f"{answer.status} {text}", hint="The node may be offline.", **facts)
    if answer.status in (502, 503, 504) or (answer.status >= 500 and _json(answer) is None and not answer.reason):
        return ServerFault(asked, of=of, answer=f"{answer.status} {text}", **facts)
    for pattern, kind, hint in _TEXTS:
        if pattern.search(text):
            return kind(asked, of=of, answer=text, hint=hint, **facts)
    return Refused(asked, of=of, answer=text, **facts)


def _unauthenticated(text: str, asked: str, of: str, who: str, facts: dict[str, t.Any]) -> Unauthenticated:
    if "!" in who:
        hint = f"Does the token {who} exist, is it not expired, and is api_token_secret its secret?"
    else:
        hint = f"Is the password of {who} right, and the user enabled?"
    return Unauthenticated(asked, of=of, answer=f"401 {text}, asked as {who}", hint=hint, **facts)


def _denied(text: str, asked: str, of: str, who: str, facts: dict[str, t.Any]) -> HomelabError:
    if "pool '" in text and "does not exist" in text:
        return NotFound(asked, of=of, answer=text, hint="Create the pool first.", **facts)
    found = _RIGHT.search(text)
    if not found:
        hint = f"A right of {who} is missing; with a token, user and token both need it."
        return AccessDenied(asked, of=of, answer=text, hint=hint, **facts)
    path, rights = found["path"], found["rights"].strip()
    usual = next((name for right in rights.split("|") if (name := holding(right.strip()))), "AnsibleGuests")
    role = next((hint for right, hint in _ROLES if right in rights), f"It belongs to the role {usual}.")
    hint = f"Give {who} the right {rights.replace('|', ' or ')} on {path} (a token's user needs it too). {role}"
    return AccessDenied(asked, of=of, answer=text, hint=hint, path=path, rights=rights.split("|"), **facts)


def _text(answer: Answer) -> str:
    """The reason in full: status line (or the body's message, where a proxy changed the line), parameter errors."""
    body = _json(answer)
    message = str(body.get("message") or "").strip() if isinstance(body, dict) else ""
    text = message if len(message) > len(answer.reason) else answer.reason
    errors = _errors(answer).get("errors", {})
    if errors:
        text = f"{text.rstrip('.')}: " + "; ".join(f"{name}: {why}" for name, why in sorted(errors.items()))
    return text.strip() or f"HTTP status {answer.status} without a reason"


def _errors(answer: Answer) -> dict[str, dict[str, str]]:
    body = _json(answer)
    errors = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(errors, dict) or not errors:
        return {}
    return {"errors": {str(name): " ".join(str(why).split()) for name, why in errors.items()}}


def _json(answer: Answer) -> t.Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def _is_html(answer: Answer) -> bool:
    return "html" in answer.headers.get("content-type", "") or answer.body.lstrip()[:15].lower().startswith(
        (b"<!doctype html", b"<html")
    )


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 1.0
