# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SealedSecrets: from what is wanted and what is there to what is to be written, and back to values."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ..errors import InvalidInput
from ..object_copies import COPIES
from ..plan import HIDDEN, Change
from . import sealing, secret_forms, yaml_text
from .key_pairs import KeyPair

Document = dict[str, t.Any]

_ANNOTATIONS = {
    sealing.NAMESPACE_WIDE: "sealedsecrets.bitnami.com/namespace-wide",
    sealing.CLUSTER_WIDE: "sealedsecrets.bitnami.com/cluster-wide",
}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A Secret that is to be sealed. ``template``: the fields of the Secret that are not secret."""

    target: sealing.Target
    contents: t.Mapping[str, bytes] = dataclasses.field(repr=False)
    template: Document
    path: pathlib.Path | None = None

    @property
    def resource(self) -> str:
        return identity(self.target)


def identity(target: sealing.Target) -> str:
    return "/".join(["SealedSecret", *([target.namespace] if target.namespace else []), target.name])


@dataclasses.dataclass(frozen=True)
class Means:
    """With what is sealed, and how it is known what has been. One of the latter two is needed for that."""

    certificate: sealing.Certificate
    sealing_key: bytes = dataclasses.field(default=b"", repr=False)
    pairs: t.Sequence[KeyPair] = ()

    def sealed(self, value: bytes, name: str, target: sealing.Target) -> str:
        return sealing.seal(value, target, self.certificate, name=name, sealing_key=self.sealing_key)

    def is_sealed(self, text: str, value: bytes, target: sealing.Target) -> bool:
        """Whether a text is this value, sealed for this certificate; False when that cannot be told."""
        own = [pair.key for pair in self.pairs if pair.fingerprint == self.certificate.fingerprint]
        if not own:
            return False
        try:
            return sealing.unseal(text, target, own) == value
        except sealing.DoesNotOpen:
            return False


def document(wanted: Wanted, means: Means, there: Document | None) -> Document:
    """The SealedSecret, with the texts that are there already where their values and all that they are sealed for are
    unchanged."""
    target = wanted.target
    texts = _mapping(_mapping(there or {}, "spec"), "encryptedData") if there and target_of(there) == target else {}
    sealed = {}
    for name, value in sorted(wanted.contents.items()):
        kept = str(texts.get(name, ""))
        sealed[name] = kept if means.is_sealed(kept, value, target) else means.sealed(value, name, target)
    return _assembled(target, sealed, wanted.template)


def resealed(there: Document, means: Means, where: str) -> Document:
    """The same for another certificate. Raises InvalidInput when a value does not open."""
    target, sealed = target_of(there), _texts(there, where)
    keys = [pair.key for pair in means.pairs]
    texts = {}
    for name, text in sealed.items():
        try:
            value = sealing.unseal(text, target, keys)
        except sealing.DoesNotOpen as error:
            raise _does_not_open(where, there, {name: str(error)}) from None
        texts[name] = text if means.is_sealed(text, value, target) else means.sealed(value, name, target)
    return {**there, "spec": {**there["spec"], "encryptedData": texts}}


def check(there: Document, pairs: t.Sequence[KeyPair], where: str) -> list[str]:
    """The names of the values, all of which open. Raises InvalidInput with those that do not."""
    keys, wrong = [pair.key for pair in pairs], {}
    texts = _texts(there, where)
    for name, text in texts.items():
        try:
            sealing.unseal(text, target_of(there), keys)
        except sealing.DoesNotOpen as error:
            wrong[name] = str(error)
    if wrong:
        raise _does_not_open(where, there, wrong)
    return sorted(texts)


def _does_not_open(where: str, there: Document, wrong: t.Mapping[str, str]) -> InvalidInput:
    listed = "; ".join(f"{name}: {why}" for name, why in sorted(wrong.items()))
    target = target_of(there)
    return InvalidInput(
        f"{identity(target)} in {where} (scope {target.scope}) does not open: {listed}",
        hint="Give all private keys that the controller had, or seal its values anew.",
        values_that_do_not_open=sorted(wrong),
    )


def names_of(there: Document) -> list[str]:
    """Of the sealed values of one that may be wrong in any way."""
    return sorted(map(str, _mapping(_mapping(there, "spec"), "encryptedData")))


def target_of(there: Document) -> sealing.Target:
    meta = _mapping(there, "metadata")
    return sealing.Target(str(meta.get("namespace") or ""), str(meta.get("name") or ""), scope_of(meta))


def scope_of(meta: Document) -> str:
    annotations = _mapping(meta, "annotations")
    wide = [scope for scope in (sealing.CLUSTER_WIDE, sealing.NAMESPACE_WIDE) if annotations.get(_ANNOTATIONS[scope]) == "true"]  # fmt: skip
    return wide[0] if wide else sealing.STRICT


def _texts(there: Document, where: str) -> dict[str, str]:
    spec = there.get("spec")
    if not isinstance(spec, dict) or "data" in spec or not isinstance(spec.get("encryptedData"), dict):
        raise InvalidInput(f"{identity(target_of(there))} in {where} has no spec.encryptedData")
    wrong = [name for name, text in spec["encryptedData"].items() if not isinstance(text, str)]
    if wrong:
        raise InvalidInput(f"{identity(target_of(there))} in {where}: {wrong[0]} is no text")
    return dict(spec["encryptedData"])


def _mapping(of: Document, name: str) -> Document:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _assembled(target: sealing.Target, texts: dict[str, str], template: Document) -> Document:
    names = {"name": target.name, **({"namespace": target.namespace} if target.namespace else {})}
    scope = {_ANNOTATIONS[target.scope]: "true"} if target.scope in _ANNOTATIONS else {}
    given = template.get("metadata", {})
    annotations = {key: text for key, text in given.get("annotations", {}).items() if key not in _ANNOTATIONS.values()}
    inner = {**names, **given, "annotations": annotations | scope}
    if not inner["annotations"]:
        del inner["annotations"]
    return {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {**names, **({"annotations": scope} if scope else {})},
        "spec": {"encryptedData": texts, "template": {**template, "metadata": inner}},
    }


# -- what is there, and what differs ----------------------------------------------------------------------------------


def read(text: str, where: str) -> list[Document]:
    """The SealedSecrets of a file. Raises InvalidInput when it holds something else, which a new version would lose."""
    found = yaml_text.documents(text, where)
    for one in found:
        if one.get("kind") != "SealedSecret" or str(one.get("apiVersion")) != "bitnami.com/v1alpha1":
            raise InvalidInput(
                f"{where} holds an object of the kind {one.get('kind')}, not only SealedSecrets",
                hint="Give SealedSecrets a file of their own.",
            )
    return found


def change(resource: str, there: Document | None, wanted: Document, path: pathlib.Path) -> Change | None:
    """What differs, to be written to ``path``; sealed values only by their names."""
    before, after = _shown(there), _shown(wanted)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if there is not None and not keys:
        return None
    old, new = ({key: side[key] for key in keys if key in side} for side in (before, after))
    old, new = ({key: HIDDEN if key.startswith(_SEALED) else one[key] for key in one} for one in (old, new))
    return Change(resource, "create" if there is None else "update", old, new, operation=path)


_SEALED = "encryptedData."


def _shown(document: Document | None) -> Document:
    """Flat: ``encryptedData.<name>``, ``template``, ``metadata``; without what the API server adds."""
    if document is None:
        return {}
    meta, spec = _mapping(document, "metadata"), _mapping(document, "spec")
    own = {key: meta[key] for key in ("name", "namespace", "annotations", "labels") if meta.get(key)}
    template = {key: value for key, value in _mapping(spec, "template").items() if value is not None}
    if "metadata" in template:
        template["metadata"] = {k: v for k, v in _mapping(template, "metadata").items() if v is not None}
    texts = {f"{_SEALED}{name}": text for name, text in _mapping(spec, "encryptedData").items()}
    return {"metadata": own, "template": template, **texts}


# -- what is wanted -----------------------------------------------------------------------------------------------------


def wanted(given: t.Mapping[str, t.Any], where: str) -> Wanted:
    """From one entry of the module's list. Raises InvalidInput, which quotes no value."""
    secret = _secret(given, where)
    meta = secret_forms.mapping(secret, "metadata", where)
    name, namespace = given["name"] or meta.get("name"), given["namespace"] or meta.get("namespace") or ""
    secret_forms.check_names(name, namespace, where)
    where = f"{where} ({name})"
    kind = secret_forms.kind_of(secret, given["type"], where)
    contents = secret_forms.contents_of(secret, f"The definition of {where}")
    contents |= {key: secret_forms.value_of(key, value, where) for key, value in (given["contents"] or {}).items()}
    if not contents:
        raise InvalidInput(f"{where} has no values to seal", hint="Give contents, or a definition with data.")
    secret_forms.check_values(kind, contents, where)
    notes = {field: secret_forms.notes_of(meta, field, given[field], where) for field in ("labels", "annotations")}
    scope = given["scope"] or scope_of(notes)
    if not namespace and scope != sealing.CLUSTER_WIDE:
        raise InvalidInput(
            f"{where} has no namespace, for which it is to be sealed", hint="Give namespace, or scope: cluster-wide."
        )
    # Copies of the whole Secret would be there for all to read.
    notes["annotations"] = {key: text for key, text in notes["annotations"].items() if key not in COPIES}
    template: Document = {"metadata": {field: found for field, found in notes.items() if found}}
    immutable = secret_forms.immutable_of(secret, given["immutable"], where)
    template |= {name: value for name, value in (("type", kind), ("immutable", immutable)) if value is not None}
    path = pathlib.Path(given["path"]).expanduser().absolute() if given["path"] else None
    return Wanted(sealing.Target(str(namespace), str(name), scope), contents, template, path)


def secret_texts(definition: t.Any) -> set[str]:
    """What of a definition must not be shown, right or wrong as it may be: its data. One that is text is hidden as a whole too:
    in it the lines of a value are indented, so that the value itself does not occur."""
    whole = {definition} if isinstance(definition, str) else set()
    try:
        given = yaml_text.documents(definition, "") if isinstance(definition, str) else [definition]
    except InvalidInput:
        return whole
    fields = (one.get(name) for one in given if isinstance(one, dict) for name in ("data", "stringData"))
    return whole | {text for field in fields for text in _leaves(field)}


def _leaves(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _secret(given: t.Mapping[str, t.Any], where: str) -> Document:
    definition = given["definition"]
    if definition is None:
        return {}
    if isinstance(definition, str):
        found = yaml_text.documents(definition, f"The definition of {where}")
        if len(found) != 1:
            raise InvalidInput(f"The definition of {where} holds {len(found)} objects, one was expected")
        definition = found[0]
    if not isinstance(definition, dict) or definition.get("kind") != "Secret" or definition.get("apiVersion") != "v1":
        raise InvalidInput(f"The definition of {where} is no Secret with apiVersion v1")
    return definition
