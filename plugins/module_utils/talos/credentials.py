# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks: a short-lived administrator made from the secrets bundle, or a context of a talosconfig."""

from __future__ import annotations

import datetime as dt
import os
import pathlib
import typing as t

from ..errors import InvalidInput, Unauthenticated
from ..sops import age_keys
from ..task import Task
from . import options, pki, secrets_bundle, talosconfig
from .tls import Identity

ADMIN_ROLE = "os:admin"
_NEW = (
    "The module groundwork.homelab.talos_secrets makes a new one from the secrets bundle, with talosconfig_dest; "
    "with secrets_path in place of talosconfig none is needed."
)


def option(params: t.Mapping[str, t.Any], name: str) -> str | None:
    """A connection option: as the task gives it, else from its environment variable."""
    given = params.get(name) or os.environ.get(options.ENVIRONMENT.get(name, ""), "")
    return str(given) if given else None


def bundle_path(params: t.Mapping[str, t.Any]) -> pathlib.Path | None:
    given = option(params, "secrets_path")
    return pathlib.Path(given).expanduser() if given else None


def required_bundle_path(params: t.Mapping[str, t.Any]) -> pathlib.Path:
    path = bundle_path(params)
    if path is None:
        raise InvalidInput(
            "secrets_path is not set",
            hint=f"Set it, or the environment variable {options.ENVIRONMENT['secrets_path']}.",
        )
    return path


def load_bundle(path: pathlib.Path, task: Task) -> secrets_bundle.Bundle:
    """The bundle, with its values kept out of everything that the task says."""
    if not path.exists():
        raise InvalidInput(
            f"There is no secrets bundle at {path}", hint="The module groundwork.homelab.talos_secrets makes one."
        )
    bundle = secrets_bundle.load(path, lambda: age_keys.age_identities(task))
    keep_secret(bundle, task)
    return bundle


def keep_secret(bundle: secrets_bundle.Bundle, task: Task) -> None:
    """Everything of the bundle but the certificates of its authorities and the cluster's id, which are no secrets."""
    public = {bundle.data["certs"][name]["crt"] for name in secrets_bundle.AUTHORITIES} | {bundle.data["cluster"]["id"]}
    task.secret(*(bundle.secret_values() - public))


def from_bundle(bundle: secrets_bundle.Bundle) -> Identity:
    authority = bundle.authority("os")
    return Identity(authority.crt, pki.client_certificate(authority, [ADMIN_ROLE]))


def from_params(task: Task) -> Identity:
    """From ``secrets_path`` if it is set, else from ``talosconfig`` and ``context``."""
    path = bundle_path(task.params)
    if path is not None:
        return from_bundle(load_bundle(path, task))
    config = option(task.params, "talosconfig")
    if config is None:
        raise InvalidInput("Neither secrets_path nor talosconfig is set", hint="One of them says who asks the nodes.")
    return from_talosconfig(task, pathlib.Path(config).expanduser())


def from_talosconfig(task: Task, path: pathlib.Path) -> Identity:
    """The task's context of a talosconfig. Raises when its certificate is of no use any more: a node answers that with
    an alert as it does to a stranger, so it would look like another cluster's node.
    """
    context = talosconfig.load(path, task.params.get("context"))
    task.secret(context.client.key.decode())
    _judge_time(context.client.crt, f"use the context {context.name} of {path}")
    return Identity(context.ca, context.client)


def _judge_time(crt: bytes, asked: str) -> None:
    now = dt.datetime.now(dt.UTC)
    try:
        begins, ends = pki.begins(crt), pki.expires(crt)
    except ValueError as error:
        raise Unauthenticated(asked, answer="its client certificate cannot be read", hint=_NEW) from error
    if now >= ends:
        raise Unauthenticated(asked, answer=f"its client certificate ended on {_moment(ends)}", hint=_NEW)
    if now < begins:
        hint = "Compare this machine's clock with that of the one where it was made."
        raise Unauthenticated(asked, answer=f"its client certificate is not valid before {_moment(begins)}", hint=hint)


def _moment(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
