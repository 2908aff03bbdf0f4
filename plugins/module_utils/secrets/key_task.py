# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What M(groundwork.homelab.sealed_secrets_key) does: one file that holds a controller's keys, whoever made them."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import typing as t

from .. import private_files
from ..errors import InvalidInput
from ..plan import COMPUTED, HIDDEN, Change, Plan, carry_out
from ..sops import age, age_keys
from ..task import Result, Task
from . import files, key_pairs, sealing, yaml_text
from .key_pairs import KeyPair

_NAME = "sealed-secrets-key-"
_RETIRED = re.compile(rf"^# {re.escape(key_pairs.LABEL)}: (.*)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Store:
    """The file that is kept, as it is. ``pairs`` is None when it is there and cannot be opened here."""

    path: pathlib.Path
    there: bool
    encrypted: bool
    pairs: list[KeyPair] | None


def run(task: Task) -> Result:
    """Bring together what is there, what is given, and a new key where one is due; write what differs."""
    params, now = task.params, datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    _check(params)
    identities = age_keys.age_identities(task)
    store = _store(files.absolute(params["path"]), identities)
    given = [pair for path in params["src"] for pair in key_pairs.load(files.absolute(path), identities)]
    certificates = files.absolute(params["certificate_file"]) if params["certificate_file"] else None
    if store.pairs is None:
        return _unopened(task, store, given, certificates)
    pairs = _together(store.pairs, given, params["namespace"])
    new = _due(pairs, params, now)
    return _finish(task, store, pairs, new, certificates)


def _finish(task: Task, store: Store, pairs: list[KeyPair], new: str, certificates: pathlib.Path | None) -> Result:
    plan = _plan(task, store, pairs, new, certificates)
    names = [*(pair.name for pair in pairs), *([new] if new else [])]
    if plan and not task.check_mode:
        if new:
            size, days = task.params["key_size"], task.params["valid_days"]
            now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
            pairs = [*pairs, key_pairs.generate(new, task.params["namespace"], size, days, now)]
        texts = _texts(pairs, task.params["recipients"])
        carry_out(plan, lambda change: _apply(change, texts))
    return task.result(plan, path=str(store.path), names=names)


@dataclasses.dataclass(frozen=True)
class Texts:
    """What the two files are to hold."""

    keys: str = dataclasses.field(repr=False)
    certificates: str


def _check(params: dict[str, t.Any]) -> None:
    for recipient in params["recipients"]:
        age.parse_recipient(recipient)
    if not 2048 <= params["key_size"] <= 8192:
        raise InvalidInput(f"key_size is {params['key_size']}, it must be from 2048 to 8192")
    if not 1 <= params["valid_days"] <= 36500:
        raise InvalidInput(f"valid_days is {params['valid_days']}, it must be from 1 to 36500")
    if params["rotate_after"] is not None and params["rotate_after"] < 1:
        raise InvalidInput(f"rotate_after is {params['rotate_after']}, it must be 1 day or more")
    if not params["namespace"]:
        raise InvalidInput("namespace is empty", hint="It is the one of the controller.")
    paths = [params["path"], *params["src"], *([params["certificate_file"]] if params["certificate_file"] else [])]
    known = [files.absolute(path) for path in paths]
    if len(set(known)) < len(known):
        raise InvalidInput("path, certificate_file and each of src must be different files")


def _store(path: pathlib.Path, identities: list[age.Identity]) -> Store:
    if not path.exists():
        return Store(path, False, False, [])
    if not key_pairs.is_encrypted(path):
        return Store(path, True, False, key_pairs.load(path, identities))
    return Store(path, True, True, key_pairs.load(path, identities) if identities else None)


def _unopened(task: Task, store: Store, given: list[KeyPair], certificates: pathlib.Path | None) -> Result:
    """A backup that is encrypted for somebody else: what it holds is known by the certificates beside it."""
    known = _known(certificates)
    if known is None or not given:
        raise InvalidInput(
            f"{store.path} is encrypted, so what it holds already cannot be told",
            hint="Give age_key_file; or, for a backup of src, certificate_file, which names what the backup holds.",
        )
    if not known.keys() <= {pair.fingerprint for pair in given}:
        raise InvalidInput(
            f"{store.path} holds keys that src does not, and is encrypted, so nothing can be added to it",
            hint="Give age_key_file, or another path.",
        )
    retired = {fingerprint: state for fingerprint, state in known.items() if state != key_pairs.ACTIVE}
    pairs = [
        dataclasses.replace(pair, state=retired.get(pair.fingerprint, pair.state))
        for pair in _together([], given, task.params["namespace"])
    ]
    held = [dataclasses.replace(pair, state=known[pair.fingerprint]) for pair in pairs if pair.fingerprint in known]
    return _finish(task, dataclasses.replace(store, pairs=held), pairs, "", certificates)


def _known(certificates: pathlib.Path | None) -> dict[str, str] | None:
    """The keys whose certificates a file holds, and their states; None if there is no such file."""
    text = files.current(certificates, "certificate") if certificates else None
    if text is None:
        return None
    found = {}
    for piece in text.split("-----END CERTIFICATE-----")[:-1]:
        certificate = sealing.Certificate.parse(piece + "-----END CERTIFICATE-----\n", str(certificates))
        state = _RETIRED.search(piece)
        found[certificate.fingerprint] = state[1] if state else key_pairs.ACTIVE
    return found


def _together(there: list[KeyPair], given: list[KeyPair], namespace: str) -> list[KeyPair]:
    """Each key once, what is there first; a namespace that a key names stays. What somebody has retired stays so, whoever
    says otherwise."""
    all_of_them = [*there, *_complete(given, namespace)]
    found = {pair.fingerprint: pair for pair in reversed(all_of_them)}
    retired = {pair.fingerprint: pair.state for pair in all_of_them if not pair.active}
    ordered = dict.fromkeys(pair.fingerprint for pair in [*there, *given])
    pairs = [found[fingerprint] for fingerprint in ordered]
    names: set[tuple[str, str]] = set()
    for number, pair in enumerate(pairs):
        if not pair.certificate_pem:
            raise InvalidInput("A private key was given without its certificate", hint="Put both into one PEM file.")
        name = pair.name if pair.name and (pair.namespace, pair.name) not in names else _free(names, pair.namespace)
        names.add((pair.namespace, name))
        pairs[number] = dataclasses.replace(pair, name=name, state=retired.get(pair.fingerprint, pair.state))
    return pairs


def _complete(pairs: list[KeyPair], namespace: str) -> list[KeyPair]:
    return [dataclasses.replace(pair, namespace=pair.namespace or namespace) for pair in pairs]


def _free(names: t.Collection[tuple[str, str]], namespace: str) -> str:
    return next(f"{_NAME}{n}" for n in range(1, len(names) + 2) if (namespace, f"{_NAME}{n}") not in names)


def _newest(pairs: list[KeyPair]) -> list[KeyPair]:
    """Those that the controller uses first."""
    return sorted(pairs, key=lambda pair: (pair.active, pair.certificate.not_before), reverse=True)


def _due(pairs: list[KeyPair], params: dict[str, t.Any], now: datetime.datetime) -> str:
    """The name of the key to make, or nothing. Raises InvalidInput when there would be none at all."""
    free = _free({(pair.namespace, pair.name) for pair in pairs}, params["namespace"])
    if not params["generate"]:
        if not pairs:
            raise InvalidInput("There are no keys", hint="Give src, or generate: true.")
        if params["certificate_file"] and not any(pair.active for pair in pairs):
            raise InvalidInput(
                f"No key is active ({key_pairs.LABEL}), so there is no certificate to seal for",
                hint="Give generate: true, or leave out certificate_file.",
            )
        return ""
    if not any(pair.active for pair in pairs):
        return free
    newest = _newest(pairs)[0].certificate
    age_limit = params["rotate_after"]
    old = age_limit is not None and now >= newest.not_before + datetime.timedelta(days=age_limit)
    return free if old or now >= newest.not_after else ""


def _plan(task: Task, store: Store, pairs: list[KeyPair], new: str, certificates: pathlib.Path | None) -> Plan:
    known = {pair.fingerprint: pair.state for pair in store.pairs or []}
    namespace = task.params["namespace"]
    changes = [
        Change(
            _resource(pair.namespace, pair.name), "create", after=_shown(pair.fingerprint, pair.certificate.not_after)
        )
        for pair in pairs
        if pair.fingerprint not in known
    ]
    changes += [
        Change(
            _resource(pair.namespace, pair.name), "update", {"state": known[pair.fingerprint]}, {"state": pair.state}
        )
        for pair in pairs
        if known.get(pair.fingerprint, pair.state) != pair.state
    ]
    if new:
        changes.append(Change(_resource(namespace, new), "create", after=_shown(COMPUTED, None)))
    wanted = bool(task.params["recipients"])
    if changes:
        first = dataclasses.replace(changes[0], operation=("keys", store.path))
        changes[0] = first
    elif store.there and store.encrypted != wanted:
        before, after = ({"encrypted": state} for state in (store.encrypted, wanted))
        changes.append(
            Change(f"sealed-secrets-keys/{store.path}", "update", before, after, operation=("keys", store.path))
        )
    text = "" if new else _certificates(pairs)
    there = files.current(certificates, "certificate") if certificates else None
    if certificates and (new or there != text):
        action: t.Literal["create", "update"] = "create" if there is None else "update"
        count = {"certificates": len(pairs) + bool(new)}
        changes.append(
            Change(f"certificates/{certificates}", action, after=count, operation=("certificates", certificates))
        )
    return Plan.of(changes)


def _shown(fingerprint: str, until: datetime.datetime | None) -> dict[str, str]:
    expires = f"{until:%Y-%m-%dT%H:%M:%SZ}" if until else COMPUTED
    return {"fingerprint": fingerprint, "expires": expires, "private_key": HIDDEN}


def _resource(namespace: str, name: str) -> str:
    return f"Secret/{namespace}/{name}"


def _texts(pairs: list[KeyPair], recipients: list[str]) -> Texts:
    text = yaml_text.text_of(pair.manifest() for pair in pairs)
    keys = age.armored(age.encrypt(text.encode(), recipients)) if recipients else text
    return Texts(keys, _certificates(pairs))


def _certificates(pairs: list[KeyPair]) -> str:
    """The newest that the controller uses first: it is the one that is sealed for. Before one that is not used it says so,
    which readers of PEM skip."""
    return "".join(
        ("" if pair.active else f"# {key_pairs.LABEL}: {pair.state}\n") + pair.first_certificate
        for pair in _newest(pairs)
    )


def _apply(change: Change, texts: Texts) -> None:
    if change.operation is None:  # written with the first of its file
        return
    what, path = change.operation
    if what == "keys":
        private_files.replace(path, texts.keys)
    else:
        files.write_public(path, texts.certificates)
