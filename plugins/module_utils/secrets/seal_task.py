# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What M(groundwork.homelab.sealed_secret) does in each of its states."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

from ..errors import InvalidInput
from ..plan import HIDDEN, Change, Plan, carry_out
from ..sops import age_keys
from ..task import Result, Task
from . import files, key_pairs, sealed_secrets, sealing, yaml_text
from .sealed_secrets import Document, Means, Wanted

#: Days before the certificate's end from which on it is warned of.
_SOON = 14


class Given(t.NamedTuple):
    """A certificate that somebody else got, and where from."""

    text: str
    where: str


def check_fetching(params: t.Mapping[str, t.Any]) -> None:
    """What is wrong with the input is said before the cluster is asked."""
    if params["certificate_file"] or params["certificate"]:
        raise InvalidInput("fetch_certificate is given with a certificate", hint="Leave one of them out.")
    if params["state"] == "valid":
        raise InvalidInput("state valid needs no certificate", hint="Leave out fetch_certificate.")


def present(task: Task, fetched: Given | None = None) -> Result:
    """Seal the Secrets of the task. Nothing is written before all of them are known to be right."""
    if task.params["files"]:
        raise InvalidInput("files is for state resealed and valid", hint="Give each of secrets a path.")
    secrets = _wanted(task)
    certificate = _certificate(task, fetched)
    means, made = _means(task, certificate, secrets)
    current = _current(secrets)
    planned = [
        (one, current.get((one.path, one.resource)), sealed_secrets.document(one, means, there))
        for one in secrets
        for there in [current.get((one.path, one.resource))]
    ]
    changes = [
        sealed_secrets.change(one.resource, there, document, one.path) for one, there, document in planned if one.path
    ]
    changed = {change.resource: change for change in changes if change}
    definitions = [document for one, _there, document in planned if not one.path]
    _check_masking(task, definitions)
    texts = _texts(planned, current, set(changed))
    plan = Plan.of([*made, *changed.values()])
    if not task.check_mode:
        _write(plan, texts)
    return task.result(
        plan, definitions=definitions, sealed_secrets=[_described(one) for one in secrets], **_expiry(certificate)
    )


def resealed(task: Task, fetched: Given | None = None) -> Result:
    """Seal what is in files for another certificate."""
    pairs, given = _pairs(task), _files(task)
    certificate = _certificate(task, fetched)
    if not any(pair.fingerprint == certificate.fingerprint for pair in pairs):
        raise InvalidInput(
            "None of private_keys belongs to the certificate, so what is sealed for it already cannot be told",
            hint="Give the private key of the new certificate too.",
        )
    key_file = task.params["sealing_key_file"]
    key = (files.sealing_key(files.absolute(key_file), task) or b"") if key_file else b""
    means = Means(certificate, key, pairs)
    changes, texts, described = [], {}, []
    for path, documents in given.items():
        new = [sealed_secrets.resealed(document, means, str(path)) for document in documents]
        for there, document in zip(documents, new, strict=True):
            change = sealed_secrets.change(_resource(there), there, document, path)
            if change:
                changes.append(change)
                texts[path] = yaml_text.text_of(new)
            described.append(_found(path, there))
    plan = Plan.of(changes)
    if not task.check_mode:
        _write(plan, texts)
    return task.result(plan, sealed_secrets=described, **_expiry(certificate))


def valid(task: Task, _fetched: Given | None = None) -> Result:
    """Open everything that is in files; says all that does not open before it fails."""
    pairs, given = _pairs(task), _files(task)
    described, problems = [], []
    for path, documents in given.items():
        for document in documents:
            try:
                sealed_secrets.check(document, pairs, str(path))
            except InvalidInput as error:
                problems.append(error)
            described.append(_found(path, document))
    if problems:
        raise InvalidInput(" ".join(error.problem for error in problems), hint=problems[0].hint)
    return task.result(Plan(), sealed_secrets=described)


STATES: dict[str, t.Callable[[Task, Given | None], Result]] = {"present": present, "resealed": resealed, "valid": valid}


# -- what is given --------------------------------------------------------------------------------------------------------


def _wanted(task: Task) -> list[Wanted]:
    given = task.params["secrets"]
    if not given:
        raise InvalidInput("There is nothing to seal", hint="Give secrets.")
    for one in given:  # first: what is wrong with one may be quoted
        task.secret(*sealed_secrets.secret_texts(one["definition"]))
    found = [sealed_secrets.wanted(one, f"secrets[{number}]") for number, one in enumerate(given)]
    seen: dict[str, int] = {}
    for number, one in enumerate(found):
        if one.resource in seen:
            raise InvalidInput(f"secrets[{seen[one.resource]}] and secrets[{number}] are both {one.resource}")
        seen[one.resource] = number
        for value in one.contents.values():
            task.secret(value.decode("utf-8", "replace"))
    return found


def _certificate(task: Task, fetched: Given | None) -> sealing.Certificate:
    path = task.params["certificate_file"]
    where = str(files.absolute(path)) if path else fetched.where if fetched else "the option certificate"
    given = fetched.text if fetched else task.params["certificate"]
    text = files.current(files.absolute(path), "certificate") if path else given
    if not text:
        problem = f"There is no certificate at {where}" if path else "No certificate was given"
        raise InvalidInput(problem, hint="Give certificate_file, or fetch_certificate to get the controller's.")
    found = sealing.Certificate.parse(text, where)
    now = datetime.datetime.now(datetime.timezone.utc)
    found.check_time(now, where)
    if found.not_after - now < datetime.timedelta(days=_SOON):
        task.warn(f"The certificate of {where} expires on {found.not_after:%Y-%m-%d}")
    return found


def _means(task: Task, certificate: sealing.Certificate, secrets: list[Wanted]) -> tuple[Means, list[Change]]:
    """With the sealing key; when it is not there yet, with a new one, and the change that writes it."""
    pairs = _pairs(task) if task.params["private_keys"] else []
    own = any(pair.fingerprint == certificate.fingerprint for pair in pairs)
    if not task.params["sealing_key_file"]:
        if not own or any(one.path is None for one in secrets):
            raise InvalidInput(
                "It could not be told which values are unchanged, so each run would seal them anew",
                hint="Give sealing_key_file; or, where each of secrets has a path, private_keys with that of the certificate.",
            )
        return Means(certificate, b"", pairs), []
    path = files.absolute(task.params["sealing_key_file"])
    key = files.sealing_key(path, task)
    if key:
        return Means(certificate, key, pairs), []
    new = files.NewSealingKey.draw(path)
    made = Change(f"sealing-key/{path}", "create", after={"key": HIDDEN}, operation=new)
    return Means(certificate, new.key, pairs), [made]


def _pairs(task: Task) -> list[key_pairs.KeyPair]:
    if not task.params["private_keys"]:
        raise InvalidInput(
            "private_keys is needed to open what is sealed", hint="Give the files with the controller's keys."
        )
    identities = age_keys.age_identities(task)
    found = [pair for path in task.params["private_keys"] for pair in key_pairs.load(files.absolute(path), identities)]
    return list({pair.fingerprint: pair for pair in found}.values())


def _files(task: Task) -> dict[pathlib.Path, list[Document]]:
    if not task.params["files"] or task.params["secrets"]:
        raise InvalidInput(f"state {task.params['state']} needs files, and no secrets")
    found = {}
    for given in task.params["files"]:
        path = files.absolute(given)
        text = files.current(path, "SealedSecret")
        documents = sealed_secrets.read(text or "", str(path))
        if not documents:
            raise InvalidInput(f"There is no SealedSecret at {path}")
        found[path] = documents
    return found


# -- what is there, and what is written -----------------------------------------------------------------------------------


Current = dict[tuple[t.Union[pathlib.Path, None], str], Document]


def _current(secrets: list[Wanted]) -> Current:
    """The SealedSecrets of the files of the task, by file and name. Others in them are an error: they would be lost."""
    found: Current = {}
    wanted = {(one.path, one.resource) for one in secrets}
    for path in dict.fromkeys(one.path for one in secrets if one.path):
        text = files.current(path, "SealedSecret")
        for document in sealed_secrets.read(text or "", str(path)):
            key = (path, _resource(document))
            if key not in wanted:
                raise InvalidInput(
                    f"{path} holds {key[1]} too, which this task does not name",
                    hint="Give each its own path, or all SealedSecrets of the file in one task.",
                )
            found[key] = document
    return found


def _texts(
    planned: list[tuple[Wanted, Document | None, Document]], current: Current, changed: set[str]
) -> dict[pathlib.Path, str]:
    """Of the files in which something changes."""
    found: dict[pathlib.Path, list[Document]] = {}
    for one, _there, document in planned:
        if one.path:
            found.setdefault(one.path, []).append(document)
    touched = {one.path for one, _there, _document in planned if one.resource in changed}
    return {path: yaml_text.text_of(documents) for path, documents in found.items() if path in touched}


def _write(plan: Plan, texts: dict[pathlib.Path, str]) -> None:
    """Each file at the first of its changes; the sealing key, of which a change carries the bytes, before all of them."""
    left = dict(texts)

    def apply(change: Change) -> None:
        if isinstance(change.operation, files.NewSealingKey):
            change.operation.write()
        elif change.operation in left:
            # What was sealed can be sealed again: hundreds of files do not wait for the disk one after the other.
            files.write_public(change.operation, left.pop(change.operation), synced=False)

    carry_out(plan, apply)


def _check_masking(task: Task, definitions: list[Document]) -> None:
    """Ansible replaces secret values wherever they occur in a result, in a sealed text too, which would then not open."""
    text = json.dumps(definitions)
    if definitions and any(secret in text for secret in task.secrets):
        raise InvalidInput(
            "A secret value is so short, or so common a word, that it occurs in the sealed object by chance, and Ansible "
            "would mask it there",
            hint="Give these Secrets a path, and apply the file with groundwork.homelab.manifests (src).",
        )


def _resource(document: Document) -> str:
    return sealed_secrets.identity(sealed_secrets.target_of(document))


def _described(one: Wanted) -> dict[str, t.Any]:
    shown = {"resource": one.resource, "scope": one.target.scope, "names": sorted(one.contents)}
    return {**shown, "path": str(one.path)} if one.path else shown


def _found(path: pathlib.Path, document: Document) -> dict[str, t.Any]:
    names = sealed_secrets.names_of(document)
    scope = sealed_secrets.target_of(document).scope
    return {"resource": _resource(document), "scope": scope, "names": names, "path": str(path)}


def _expiry(certificate: sealing.Certificate) -> dict[str, str]:
    return {"certificate_expires": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}"}
