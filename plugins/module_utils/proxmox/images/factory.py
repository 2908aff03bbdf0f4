# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Register a schematic with a Talos Image Factory, which is needed once before it builds images of it."""

from __future__ import annotations

import json
import os
import typing as t

from ...errors import HomelabError, InvalidInput, MissingDependency, Refused, ServerFault, Unreachable
from ...waiting import Backoff, Deadline, no_progress, retry
from ..api.connection import verification
from .image_spec import Factory
from .schematics import canonical

#: Seconds to go on when the factory is not reachable or asks for patience.
PATIENCE = 10.0


def register(factory: Factory, *, timeout: float, progress: t.Callable[[str], None] = no_progress) -> None:
    """POST the schematic; it is the same request however often it is made. Raises when the id is not ours."""
    if factory.ca_path and not os.access(factory.ca_path, os.R_OK):
        raise InvalidInput(f"ca_path {factory.ca_path} of image_factory cannot be read")
    retry(
        lambda: _post(factory, timeout),
        deadline=Deadline(PATIENCE),
        when=lambda error: error.retryable and error.details.get("again", True),
        progress=progress,
        backoff=Backoff(first=0.3, factor=2, most=3.0),
    )


def _post(factory: Factory, timeout: float) -> None:
    try:
        import requests
    except ImportError as error:
        raise MissingDependency("requests", reason=str(error)) from error
    from ..api.transport import unreachable

    asked, of = f"register the schematic {factory.id[:12]}…", f"the Image Factory at {factory.url}"
    try:
        answer = requests.post(
            f"{factory.url}/schematics",
            data=canonical(factory.schematic).encode(),
            headers={"Content-Type": "application/yaml"},
            timeout=(min(timeout, 10.0), timeout),
            verify=verification(factory.validate_certs, factory.ca_path),
            allow_redirects=False,
        )
    except requests.exceptions.RequestException as error:
        raise _hinted(unreachable(error, asked=asked, of=of, timeout=timeout)) from error
    if answer.status_code not in (200, 201):
        kind: type[HomelabError] = ServerFault if answer.status_code >= 500 or answer.status_code == 429 else Refused
        text = f"{answer.status_code} {answer.text.strip()[:300] or answer.reason}"
        raise kind(asked, of=of, answer=text, hint="Does this factory know every extension of the schematic?")
    _same_id(answer.text, factory, asked, of)


def _same_id(text: str, factory: Factory, asked: str, of: str) -> None:
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    number = data.get("id") if isinstance(data, dict) else None
    if number != factory.id:
        raise Refused(
            asked,
            of=of,
            answer=f"it calls the schematic {number!r}, it should be {factory.id}",
            hint="Is url the address of a Talos Image Factory? If so, please report the schematic.",
        )


def _hinted(error: HomelabError) -> HomelabError:
    """The hints of an API connection name options that a factory has under its own name."""
    if isinstance(error, Unreachable) and "ca_path" in error.hint:
        hint = "Give the authority that signed it as image_factory.ca_path."
        return type(error)(error.asked, of=error.of, answer=error.answer, hint=hint, **error.details)
    return error
