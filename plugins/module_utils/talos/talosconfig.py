# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The talosconfig: contexts with endpoints, the cluster's authority and a client certificate."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from . import pki, yaml_text

try:
    import yaml
except ImportError:  # only where the collection is imported without being used, as by ansible-test sanity
    yaml = t.cast("t.Any", None)

#: A client certificate that is valid for less than this is made anew.
RENEW_BEFORE = dt.timedelta(days=30)
LIFETIME = dt.timedelta(days=365)


@dataclasses.dataclass(frozen=True)
class Context:
    """One cluster as a client sees it; certificates are PEM."""

    name: str
    endpoints: tuple[str, ...]
    ca: bytes
    client: pki.Pair


def load(path: pathlib.Path, name: str | None) -> Context:
    """A context of a talosconfig: the named one, or the one that the file calls current."""
    text = private_files.read(path, "talosconfig")
    private_files.refuse_open(path)
    return parse(text, str(path), name)


def parse(text: str, where: str, name: str | None = None) -> Context:
    """Raises :class:`errors.InvalidInput` that says what is wrong with the file."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"The talosconfig {where} is not YAML") from error
    contexts = data.get("contexts") if isinstance(data, dict) else None
    if not isinstance(contexts, dict) or not contexts:
        raise InvalidInput(f"The talosconfig {where} has no contexts")
    wanted = name or data.get("context")
    context = contexts.get(wanted)
    if not isinstance(context, dict):
        known = ", ".join(sorted(map(str, contexts)))
        raise InvalidInput(f"The talosconfig {where} has no context {wanted!r}", hint=f"It has: {known}.")
    missing = [field for field in ("ca", "crt", "key") if not context.get(field)]
    if missing:
        raise InvalidInput(f"The context {wanted} of {where} has no {', '.join(missing)}")
    ca, crt, key = (pki.decoded(context[field], f"{field} of the context {wanted}") for field in ("ca", "crt", "key"))
    endpoints = context.get("endpoints") or ([context["target"]] if context.get("target") else [])
    return Context(str(wanted), tuple(endpoints), ca, pki.Pair(crt, key))


def render(context: Context) -> str:
    data = {
        "context": context.name,
        "contexts": {
            context.name: {
                "endpoints": list(context.endpoints),
                "ca": _base64(context.ca),
                "crt": _base64(context.client.crt),
                "key": _base64(context.client.key),
            }
        },
    }
    return yaml_text.dump(data)


def staleness(
    current: Context, wanted: Context, *, now: dt.datetime | None = None, renew_before: dt.timedelta = RENEW_BEFORE
) -> str:
    """Why a file's context is not the wanted one, or the empty string. Certificates need not be the same."""
    moment = now or dt.datetime.now(dt.UTC)
    checks: list[tuple[str, t.Callable[[], bool]]] = [
        ("it is of another cluster", lambda: current.ca.strip() == wanted.ca.strip()),
        ("its context has another name", lambda: current.name == wanted.name),
        ("its endpoints differ", lambda: current.endpoints == wanted.endpoints),
        ("its certificate is not the cluster's", lambda: pki.issued_by(current.client.crt, wanted.ca)),
        ("its certificate ends soon", lambda: pki.expires(current.client.crt) - moment > renew_before),
    ]
    return next((reason for reason, holds in checks if not holds()), "")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
