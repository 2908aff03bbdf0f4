# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate of a sealed-secrets controller, by way of the API server, as ``kubeseal --fetch-cert`` gets it."""

from __future__ import annotations

import re
import typing as t

from ..errors import HomelabError, InvalidInput, NotFound, Refused
from ..waiting import Backoff, Deadline, retry
from .answers import error_of
from .client import Client, connect

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HINT = "controller_name and controller_namespace say where the controller is."
#: Seconds in which a request is repeated.
PATIENCE = 10.0


def fetch(params: t.Mapping[str, t.Any], progress: t.Callable[[str], None]) -> str:
    """The text of the certificate. Reads the Service and, through it, what the controller shows to everybody."""
    name, namespace = params["controller_name"], params["controller_namespace"]
    for option, value in (("controller_name", name), ("controller_namespace", namespace)):
        if not _NAME.fullmatch(value):
            raise InvalidInput(f"{option} is {value!r}, which is no name in Kubernetes")
    client = connect(params, progress)
    asked = f"get the certificate of the sealed-secrets controller {namespace}/{name}"
    port = _port(client, namespace, name, asked)
    path = f"/api/v1/namespaces/{namespace}/services/http:{name}:{port}/proxy/v1/cert.pem"
    text = retry(
        lambda: _text(client, path, asked),
        deadline=Deadline(PATIENCE),
        progress=progress,
        backoff=Backoff(first=0.3, factor=2, most=3.0),
    )
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Refused(asked, of=client.of, answer="what answered is no certificate", hint=_HINT)
    return text


def _port(client: Client, namespace: str, name: str, asked: str) -> str:
    """The name of the Service's first port, empty where it has none."""
    resource = client.resource("v1", "Service")
    found = client.get(resource, namespace, name) if resource else None
    if found is None:
        raise NotFound(asked, of=client.of, answer="there is no such Service", hint=_HINT)
    ports = (found.get("spec") or {}).get("ports") or [{}]
    return str(ports[0].get("name") or "")


def _text(client: Client, path: str, asked: str) -> str:
    text = client.transport.text(path, asked, query={}, timeout=client.transport.timeout)
    if text is not None:
        return text
    raise _refusal(client, path, asked)


def _refusal(client: Client, path: str, asked: str) -> HomelabError:
    """In the server's words, which a text has not: it is asked once more."""
    answer = client.transport.send("GET", path, asked)
    error = error_of(answer, asked, client.of)
    return type(error)(asked, of=error.of, answer=error.answer, hint=error.hint or "Does the controller run?")
