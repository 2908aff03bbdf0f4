# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets bundle (``secrets.yaml``): everything of a cluster that is secret and lives as long as the cluster.

The format is the one of ``talosctl gen secrets``, so either can use the other's file. A bundle is made once and never
overwritten: a new one would be a new cluster. It may be encrypted at rest, as a file of sops for age recipients.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import os
import pathlib
import re
import typing as t

from .. import private_files
from ..errors import HomelabError, InvalidInput
from ..sops import age, sops, sops_values
from . import pki, yaml_text

try:
    import yaml
except ImportError:  # only where the collection is imported without being used, as by ansible-test sanity
    yaml = t.cast("t.Any", None)

_TOKEN = re.compile(r"[0-9a-z]{6}\.[0-9a-z]{16}")

#: Where authorities stand below ``certs``, with the subject and the kind that Talos gives them.
AUTHORITIES: dict[str, tuple[str | None, pki.Kind]] = {
    "etcd": ("etcd", "ecdsa"),
    "k8s": ("kubernetes", "ecdsa"),
    "k8saggregator": (None, "ecdsa"),
    "os": ("talos", "ed25519"),
}
_HINT = "Put back the file that the cluster was made with; a new bundle would be a new cluster."


@dataclasses.dataclass(frozen=True, repr=False)
class Bundle:
    """A valid secrets bundle: ``data`` is the file's content as mappings, with values as the file has them (base64)."""

    data: t.Mapping[str, t.Any]

    def pair(self, name: str) -> dict[str, str]:
        """An authority as machine configs carry it: ``{crt, key}``, base64 of PEM."""
        return {part: self.data["certs"][name][part] for part in ("crt", "key")}

    def authority(self, name: str) -> pki.Pair:
        pair = self.pair(name)
        return pki.Pair(base64.b64decode(pair["crt"]), base64.b64decode(pair["key"]))

    def secret_values(self) -> set[str]:
        """Every value of the bundle, also those that are no secrets by themselves: they tell clusters apart."""
        return set(_leaves(self.data))


def generate() -> Bundle:
    """A new bundle; takes about half a second, most of it for the RSA key of the service accounts."""
    certs: dict[str, t.Any] = {
        name: _encoded(pki.new_ca(organization, kind)) for name, (organization, kind) in AUTHORITIES.items()
    }
    certs["k8sserviceaccount"] = {"key": _base64(pki.service_account_key())}
    certs["os"] = certs.pop("os")  # last, as Talos writes it
    return Bundle(
        {
            "cluster": {"id": base64.urlsafe_b64encode(os.urandom(32)).decode(), "secret": _base64(os.urandom(32))},
            "secrets": {"bootstraptoken": pki.token(), "secretboxencryptionsecret": _base64(os.urandom(32))},
            "trustdinfo": {"token": pki.token()},
            "certs": certs,
        }
    )


def dump(bundle: Bundle) -> str:
    return yaml_text.dump(dict(bundle.data))


#: Gives the age identities, asked only where a file is encrypted.
Identities = t.Callable[[], t.Sequence[age.Identity]]


@dataclasses.dataclass(frozen=True)
class Stored:
    """A bundle in a file; ``file`` is None where it is in the clear."""

    bundle: Bundle
    file: sops.File | None = dataclasses.field(default=None, repr=False)

    @property
    def recipients(self) -> list[str]:
        return self.file.metadata.recipients if self.file else []


def load(path: pathlib.Path, identities: Identities = list) -> Bundle:
    """Read and check a bundle. Raises :class:`errors.InvalidInput` that names the file and the place in it."""
    return stored(path, identities).bundle


def stored(path: pathlib.Path, identities: Identities = list) -> Stored:
    """As :func:`load`, with what is around it."""
    data = _read(path)
    file = None
    if isinstance(data, dict) and "sops" in data:
        file = _decrypted(path, identities())
        data = file.values
    else:
        private_files.refuse_open(path)
    return Stored(checked(data, f"The secrets bundle {path}"), file)


def checked(data: t.Any, what: str, hint: str = _HINT) -> Bundle:
    """Raises :class:`errors.InvalidInput` that begins with ``what`` and names every place that is wrong."""
    problems = list(_problems(data))
    if problems:
        raise InvalidInput(f"{what} is not valid: {'; '.join(problems)}", hint=hint)
    return Bundle(data)


def _read(path: pathlib.Path) -> t.Any:
    try:
        return yaml.safe_load(private_files.read(path, "secrets bundle"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise InvalidInput(f"The secrets bundle {path} is not YAML{line}", hint=_HINT) from error


def _decrypted(path: pathlib.Path, identities: t.Sequence[age.Identity]) -> sops.File:
    if not identities:
        raise InvalidInput(
            f"The secrets bundle {path} is encrypted, and no age identity was given to read it with",
            hint="Give age_key_file, or set the environment variable SOPS_AGE_KEY_FILE.",
        )
    try:
        return sops.read(path, "yaml", identities)
    except HomelabError as error:
        answer = error.answer or error.message
        raise InvalidInput(f"The secrets bundle {path} cannot be decrypted: {answer}", hint=error.hint) from error


def value(bundle: Bundle, where: t.Any, *, decode: bool = False) -> str:
    """One value by its path, such as ``certs.os.crt``. Raises :class:`errors.InvalidInput` for none, and for several."""
    if not isinstance(where, str) or not where:
        raise InvalidInput(f"The path is {where!r}", hint="It looks like trustdinfo.token.")
    found: t.Any = bundle.data
    for depth, key in enumerate(where.split("."), 1):
        if not isinstance(found, dict) or key not in found:
            parent = ".".join(where.split(".")[: depth - 1])
            known = ", ".join(sorted(map(str, found))) if isinstance(found, dict) else "nothing below it"
            raise InvalidInput(f"The secrets bundle has no {where}", hint=f"{parent or 'It'} has {known}.")
        found = found[key]
    if isinstance(found, dict):
        below = ", ".join(f"{where}.{key}" for key in sorted(map(str, found)))
        raise InvalidInput(f"{where} is more than one value", hint=f"Ask for one of {below}.")
    if not decode:
        return str(found)
    try:
        return pki.decoded(found, where).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{where} is no text in base64", hint="Leave decode out.") from error


def create(path: pathlib.Path, bundle: Bundle, recipients: t.Sequence[str] = ()) -> None:
    """Write a new bundle, encrypted where there are recipients. Raises when there is one by now."""
    text = encrypted(bundle, recipients) if recipients else dump(bundle)
    if not private_files.write_new(path, text):
        raise InvalidInput(
            f"A secrets bundle appeared at {path} while this one was made; it was left alone", hint="Run it again."
        )


def encrypted(bundle: Bundle, recipients: t.Sequence[str], file: sops.File | None = None) -> str:
    """The bundle as a file of sops; in place of ``file`` its values keep their texts."""
    now = dt.datetime.now(dt.timezone.utc)
    if file:
        return sops.changed(file, file.tree, recipients, now)
    return sops.create(dict(bundle.data), "yaml", recipients, sops_values.Rules(), now)


def _problems(data: t.Any) -> t.Iterator[str]:
    if not isinstance(data, dict):
        yield "it is not a mapping"
        return
    for path in (("cluster", "id"), ("cluster", "secret")):
        if _length(_at(data, *path)) != 32:
            yield f"{'.'.join(path)} is not 32 bytes in base64"
    for path in (("secrets", "bootstraptoken"), ("trustdinfo", "token")):
        if not _TOKEN.fullmatch(str(_at(data, *path) or "")):
            yield f"{'.'.join(path)} is not a token of the form 6.16"
    ciphers = ("secretboxencryptionsecret", "aescbcencryptionsecret")
    if not any(_length(_at(data, "secrets", name)) in (16, 24, 32) for name in ciphers):
        yield f"secrets.{ciphers[0]} is not 32 bytes in base64"
    for name in AUTHORITIES:
        yield from _pair_problems(f"certs.{name}", _at(data, "certs", name))
    yield from _key_problems("certs.k8sserviceaccount.key", _at(data, "certs", "k8sserviceaccount", "key"))


def _pair_problems(where: str, pair: t.Any) -> t.Iterator[str]:
    if not isinstance(pair, dict) or not pair.get("crt") or not pair.get("key"):
        yield f"{where} needs crt and key"
        return
    try:
        decoded = pki.Pair(pki.decoded(pair["crt"], f"{where}.crt"), pki.decoded(pair["key"], f"{where}.key"))
        if not pki.belongs(decoded):
            yield f"{where}.key does not belong to {where}.crt"
    except (ValueError, InvalidInput):
        yield f"{where} is not a certificate and a key in base64 of PEM"


def _key_problems(where: str, value: t.Any) -> t.Iterator[str]:
    try:
        pki.load_key(pki.decoded(value, where))
    except (ValueError, InvalidInput):
        yield f"{where} is not a private key in base64 of PEM"


def _at(data: t.Any, *path: str) -> t.Any:
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def _length(value: t.Any) -> int:
    """Bytes behind base64 of either alphabet; -1 when it is not base64."""
    try:
        return len(base64.b64decode(str(value or "").replace("-", "+").replace("_", "/"), validate=True))
    except ValueError:
        return -1


def _leaves(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif value:
        yield str(value)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _encoded(pair: pki.Pair) -> dict[str, str]:
    return {"crt": _base64(pair.crt), "key": _base64(pair.key)}
