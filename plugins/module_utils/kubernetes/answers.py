# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server's ``Status`` answers mean, as errors of ours."""

from __future__ import annotations

import re
import typing as t

from ..errors import AccessDenied, Conflict, HomelabError, NotFound, Refused, ServerFault, Unauthenticated
from .transport import Answer


class Throttled(ServerFault):
    """HTTP 429: the server is busy and says when to come again."""


class Guarded(Conflict):
    """An eviction that a PodDisruptionBudget does not allow now. The caller says how long to try again."""

    retryable = False


class NotInstalled(ServerFault):
    """What the server needs for this request is not there yet: a webhook's pods, a namespace's service account."""


class UnknownKind(NotFound):
    """The server does not serve the kind itself, not only no such object."""


class Undeclared(Refused):
    """A field, or its type, that the kind's schema does not have; the server calls that a fault of its own."""


class FieldConflict(Conflict):
    """Other managers own fields that we want to set differently. Asking again changes nothing."""

    retryable = False


#: Status -> error and what to try, unless something more precise is known.
BY_STATUS: dict[int, tuple[type[HomelabError], str]] = {
    400: (Refused, "Look for a wrong type or a misspelt field in the definition."),
    401: (
        Unauthenticated,
        "The kubeconfig's credentials are not, or no longer, valid for this cluster. Fetch it anew.",
    ),
    403: (AccessDenied, "Give that user a role with this verb on this resource, or use another kubeconfig."),
    404: (NotFound, ""),
    405: (Refused, "This kind of object cannot be changed that way."),
    409: (Conflict, "Somebody else changed it at the same time. Run it again."),
    413: (Refused, "The object is too large for the API."),
    415: (Refused, "Server-side apply needs Kubernetes 1.22 or newer."),
    422: (Refused, "Correct the named fields. Some fields cannot be changed once the object exists."),
    429: (Throttled, "The server is busy. Run it again later."),
}


#: How the server says that a field has its value for good.
FIXED = ("field is immutable", "Forbidden: updates to ")
#: What the server quotes of an object, if it is longer: thousands of characters, of which the field's name says enough.
QUOTED = 200
#: Where such a quotation, in JSON or as Go prints it, may begin or end; a text in it may have braces of its own.
BRACES = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]')

#: As whom ``kubectl apply`` sets fields.
KUBECTL = "kubectl-client-side-apply"
#: How the server says that a path, and so a kind, means nothing to it.
NO_PATH = ("the server could not find the requested resource", "404 page not found")

#: How the server begins to say that a definition does not fit its kind.
MISFITS = ("failed to create typed patch object", "failed to convert new object")


def error_of(answer: Answer, asked: str, of: str) -> HomelabError:
    """The error for an answer of status 300 and up."""
    body = answer.body
    message = str(body.get("message") or f"HTTP {answer.status}")
    details: dict[str, t.Any] = {"status": answer.status}
    causes = _causes(body)
    managers = [cause for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    if answer.status == 409 and managers:
        return _field_conflict(asked, of, managers)
    if answer.status == 429 and any(cause.get("reason") == "DisruptionBudget" for cause in causes):
        return _guarded(asked, of, message, causes)
    if answer.status == 500 and message.startswith("conversion webhook for"):
        hint = "The program that converts this kind's versions does not answer. Are its pods ready?"
        return NotInstalled(asked, of=of, answer=message, hint=hint, **details)
    if "admission webhook" in message or "failed calling webhook" in message:
        return _webhook(answer, asked, of, message)
    if answer.status == 500 and message.startswith(MISFITS):
        return Undeclared(asked, of=of, answer=_shortened(message), hint=BY_STATUS[400][1], **details)
    if answer.status == 403 and "error looking up service account" in message:
        hint = "The namespace's service account appears a moment after the namespace, or must be defined."
        return NotInstalled(asked, of=of, answer=message, hint=hint, **details)
    if answer.status == 403 and "exceeded quota" in message:
        hint = "Ask for less, or raise the ResourceQuota."
        return Refused(asked, of=of, answer=message, hint=hint, **details)
    if answer.status == 403:
        return _forbidden(asked, of, message, details)
    if answer.status in (307, 308, 301, 302):
        return Refused(asked, of=of, answer=f"a redirect (HTTP {answer.status})", hint="Use the API's own address.")
    if answer.status == 404 and message.strip() in NO_PATH:
        return UnknownKind(asked, of=of, answer=message, hint="", **details)
    kind, hint = BY_STATUS.get(answer.status, (ServerFault if answer.status >= 500 else Refused, ""))
    if answer.status == 422 and any(words in message for words in FIXED):
        hint = "What cannot be changed has to be deleted first, and made anew; or the new one gets another name."
    return kind(asked, of=of, answer=_shortened(message), hint=hint, **details, **_fields(causes))


def _shortened(message: str) -> str:
    """Without the objects that the server quotes, such as the whole template of a Job with all that is in its environment."""
    found, depth, begin, at = [], 0, 0, 0
    for brace in BRACES.finditer(message):
        if brace[0] == "{":
            depth, begin = depth + 1, begin if depth else brace.start()
        elif brace[0] == "}" and depth:
            depth -= 1
            if not depth and brace.end() - begin > QUOTED:
                found += [message[at:begin], "{…}"]
                at = brace.end()
    return "".join(found) + message[at:]


def _causes(body: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    details = body.get("details") or {}
    found = details.get("causes") if isinstance(details, dict) else None
    return [cause for cause in found or [] if isinstance(cause, dict)]


def _fields(causes: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    fields = [str(cause["field"]) for cause in causes if cause.get("field")]
    return {"fields": fields} if fields else {}


def _field_conflict(asked: str, of: str, causes: list[dict[str, t.Any]]) -> FieldConflict:
    shown = [
        f"{cause.get('field')} ({str(cause.get('message', '')).removeprefix('conflict with ')})" for cause in causes
    ]
    managers = sorted({name for cause in causes for name in re.findall(r'"([^"]+)"', str(cause.get("message", "")))})
    hint = "Leave these fields out of the definition, or set force_conflicts to take them over."
    if KUBECTL in managers:
        hint += f" What kubectl apply set can be taken over as a whole by take_over: [{KUBECTL}]."
    return FieldConflict(
        asked,
        of=of,
        answer=f"other managers set these fields to something else: {'; '.join(shown)}",
        hint=hint,
        status=409,
        managers=managers,
        **_fields(causes),
    )


def _guarded(asked: str, of: str, message: str, causes: list[dict[str, t.Any]]) -> Guarded:
    said = [
        str(cause["message"]) for cause in causes if cause.get("reason") == "DisruptionBudget" and cause.get("message")
    ]
    return Guarded(asked, of=of, answer="; ".join(said) or message, status=429)


def _forbidden(asked: str, of: str, message: str, details: dict[str, t.Any]) -> HomelabError:
    """A right that is missing; or an admission rule's no, which has the same status, and which no right would help."""
    kind, hint = BY_STATUS[403]
    if "attempting to grant RBAC permissions" in message:
        hint = "Nobody may give rights that he does not have, unless he may escalate roles and bind them."
    elif 'User "system:anonymous"' in message:
        hint = "The kubeconfig's user has no credentials for this cluster, or they come from somewhere else."
    elif "because it is being terminated" in message:
        kind, hint = Refused, "The namespace is being deleted. Run it again when it is gone."
    elif " is forbidden: " in message and " cannot " not in message:
        kind, hint = Refused, "An admission rule of the server refuses this object, whoever asks."
    return kind(asked, of=of, answer=message, hint=hint, **details)


def _webhook(answer: Answer, asked: str, of: str, message: str) -> HomelabError:
    if answer.status >= 500 or "failed calling webhook" in message:
        hint = "The program behind this admission webhook does not answer. Are its pods ready?"
        return NotInstalled(asked, of=of, answer=message, hint=hint, status=answer.status)
    hint = "A policy of the cluster refuses this object."
    return Refused(asked, of=of, answer=message, hint=hint, status=answer.status)
