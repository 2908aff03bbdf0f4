# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What M(groundwork.homelab.talos_secrets) does: a bundle made or taken over once, kept, and what is made of it renewed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from ..plan import HIDDEN, Change, Plan, carry_out
from ..sops import age, age_keys
from ..task import Result, Task
from . import compare, config_files, credentials, inputs, pki, secrets_bundle, secrets_import, talosconfig
from .secrets_bundle import Bundle, Stored

#: Days before an authority's end from which on every run says so.
WARN_BEFORE = 180


@dataclasses.dataclass(frozen=True)
class Wanted:
    """``recipients`` None: as the file has them."""

    path: pathlib.Path
    recipients: list[str] | None
    source: secrets_import.Source | None
    talosconfig: pathlib.Path | None
    name: str
    endpoints: tuple[str, ...]
    renew_before: dt.timedelta


def run(task: Task) -> Result:
    """Look at the bundle that is there, plan, write."""
    wanted = _wanted(task)
    there = _there(task, wanted.path)
    bundle = _bundle(task, wanted, there)
    credentials.keep_secret(bundle, task)
    file = _talosconfig(wanted, bundle)
    changes = [change for change in (_change(wanted, there, bundle),) if change]
    plan = Plan.of(changes) + config_files.plan([file] if file else [], compare.Discretion(frozenset()))
    if not task.check_mode:
        carry_out(plan, lambda change: _write(change, wanted, there, bundle))
    certificates = _certificates(bundle) if there or not task.check_mode else []
    if file and file.path.exists() and not (task.check_mode and any(change.operation is file for change in plan)):
        certificates.append(_client(file.path))
    _warn(task, certificates)
    recipients = wanted.recipients if wanted.recipients is not None else (there.recipients if there else [])
    return task.result(plan, bundle=str(wanted.path), recipients=recipients, certificates=certificates)


# -- the input ---------------------------------------------------------------------------------------------------------


def _wanted(task: Task) -> Wanted:
    params = task.params
    given = params["path"] or credentials.required_bundle_path(params)
    dest = params["talosconfig_dest"]
    if dest and not params["cluster_name"]:
        raise InvalidInput("talosconfig_dest needs cluster_name", hint="It is the name of the context.")
    endpoints = tuple(inputs.address(one, f"endpoints[{index}]") for index, one in enumerate(params["endpoints"]))
    if params["renew_before"] < 1 or params["renew_before"] >= talosconfig.LIFETIME.days:
        raise InvalidInput(
            f"renew_before is {params['renew_before']}",
            hint=f"Certificates are made for {talosconfig.LIFETIME.days} days.",
        )
    return Wanted(
        pathlib.Path(given).expanduser().absolute(),
        _recipients(task, params["recipients"]),
        secrets_import.source(params),
        pathlib.Path(dest).expanduser().absolute() if dest else None,
        params["cluster_name"] or "",
        endpoints,
        dt.timedelta(days=params["renew_before"]),
    )


def _recipients(task: Task, given: list[str] | None) -> list[str] | None:
    """Each is one, and one of them is ours: else the next task could not read the bundle."""
    if given is None:
        return None
    if not given:
        raise InvalidInput("recipients is empty", hint="Leave it out to keep the bundle as it is.")
    for recipient in given:
        age.parse_recipient(recipient)
    ours = [identity.recipient for identity in age_keys.age_identities(task)]
    if not set(ours) & set(given):
        raise InvalidInput(
            "None of the recipients is of age_key_file, so the next task could not read the bundle",
            hint=f"Add {' or '.join(ours)} to recipients." if ours else "Give age_key_file.",
        )
    return list(dict.fromkeys(given))


def _there(task: Task, path: pathlib.Path) -> Stored | None:
    if not path.exists():
        return None
    return secrets_bundle.stored(path, lambda: age_keys.age_identities(task))


def _bundle(task: Task, wanted: Wanted, there: Stored | None) -> Bundle:
    """The one that is there, the one that is taken over, or a new one."""
    if wanted.source is None:
        return there.bundle if there else secrets_bundle.generate()
    taken = wanted.source.read(task)
    if there and _plain(there.bundle) != _plain(taken):
        raise InvalidInput(
            f"The secrets bundle {wanted.path} is not that of {wanted.source}",
            hint="It is never overwritten. Remove it if its cluster is gone, or give another path.",
        )
    return there.bundle if there else taken


def _plain(bundle: Bundle) -> set[tuple[str, ...]]:
    """Its values with their places, whatever stands empty."""
    return set(_flat(bundle.data))


def _flat(value: t.Any, *place: str) -> t.Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, *place, str(key))
    elif value:
        yield (*place, str(value).strip())


# -- the plan ----------------------------------------------------------------------------------------------------------


def _change(wanted: Wanted, there: Stored | None, bundle: Bundle) -> Change | None:
    resource = f"talos-secrets/{wanted.path}"
    if there is None:
        encryption = {"recipients": wanted.recipients} if wanted.recipients else {}
        note = f"taken over from {wanted.source}" if wanted.source else ""
        return Change(
            resource, "create", after={"mode": "0600", "secrets": HIDDEN, **encryption}, note=note, operation=bundle
        )
    if wanted.recipients is None or set(wanted.recipients) == set(there.recipients):
        return None
    before = {"recipients": there.recipients}
    note = "" if there.file else "it was in the clear: copies of it still are"
    return Change(resource, "update", before, {"recipients": wanted.recipients}, note=note, operation=bundle)


def _talosconfig(wanted: Wanted, bundle: Bundle) -> config_files.File | None:
    if wanted.talosconfig is None:
        return None
    context = config_files.administrator(bundle, wanted.name, wanted.endpoints)
    text = talosconfig.render(context)
    return config_files.File(wanted.talosconfig, text, context=context, renew_before=wanted.renew_before)


def _write(change: Change, wanted: Wanted, there: Stored | None, bundle: Bundle) -> None:
    if isinstance(change.operation, config_files.File):
        private_files.replace(change.operation.path, change.operation.text)
    elif there is None:
        secrets_bundle.create(wanted.path, bundle, wanted.recipients or ())
    else:
        private_files.replace(wanted.path, secrets_bundle.encrypted(bundle, wanted.recipients or (), there.file))


# -- certificates ------------------------------------------------------------------------------------------------------


def _certificates(bundle: Bundle) -> list[dict[str, t.Any]]:
    return [_ends(name, bundle.authority(name).crt) for name in secrets_bundle.AUTHORITIES]


def _client(path: pathlib.Path) -> dict[str, t.Any]:
    """Of the talosconfig as it is after this run."""
    return _ends("talosconfig", talosconfig.parse(private_files.read(path, "talosconfig"), str(path)).client.crt)


def _ends(name: str, crt: bytes) -> dict[str, t.Any]:
    end = pki.expires(crt)
    left = (end - dt.datetime.now(dt.timezone.utc)).days
    return {"name": name, "not_after": f"{end:%Y-%m-%dT%H:%M:%SZ}", "days_left": left}


def _warn(task: Task, certificates: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    for one in certificates:
        if one["name"] != "talosconfig" and one["days_left"] < WARN_BEFORE:
            task.warn(
                f"The authority certs.{one['name']} ends on {one['not_after'][:10]}. It is renewed on the nodes, "
                "with talosctl rotate-ca; import the bundle again afterwards."
            )
