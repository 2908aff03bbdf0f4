# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part ``sops`` of a file: for whom its data key is encrypted, which values are, and the MAC."""

from __future__ import annotations

import dataclasses
import datetime
import os
import typing as t

from ..errors import InvalidInput
from . import age, sops_values
from .sops_values import Damaged, Rules, Tree

VERSION = "3.13.3"
DEFAULT_SUFFIX = "_unencrypted"
#: Which a file may have besides age; their entries stay as they are, for the data key stays the same.
_OTHERS = ("kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "pgp")
_COMMENTS = ("unencrypted_comment_regex", "encrypted_comment_regex")


@dataclasses.dataclass(frozen=True)
class Metadata:
    """As it is in the file (``raw``), and what is read from it."""

    raw: Tree
    rules: Rules

    @classmethod
    def of(cls, raw: t.Any) -> Metadata:
        """Raises Damaged, and InvalidInput for what is not supported."""
        if not isinstance(raw, dict):
            raise Damaged("its part sops is missing, so it is no file of sops")
        if not isinstance(raw.get("mac"), str) or not isinstance(raw.get("lastmodified"), str):
            raise Damaged("its part sops has no mac or lastmodified")
        if raw.get("key_groups"):
            raise InvalidInput(
                "Files with key_groups (Shamir's shares) are not supported", hint="Use the program sops."
            )
        for name in _COMMENTS:
            if raw.get(name):
                raise InvalidInput(f"Files with {name} are not supported", hint="Use the program sops.")
        given = {name: str(raw.get(name) or "") for name in sops_values.RULES}
        if not any(given.values()):
            given["unencrypted_suffix"] = DEFAULT_SUFFIX
        only = str(raw.get("mac_only_encrypted", False)).lower() == "true"
        return cls(raw, Rules(**given, mac_only_encrypted=only))

    @property
    def recipients(self) -> list[str]:
        return [str(entry.get("recipient")) for entry in self._entries]

    @property
    def _entries(self) -> list[Tree]:
        entries = self.raw.get("age")
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def check_rotatable(self, path: str) -> None:
        """Raises InvalidInput for a file whose data key others keep who cannot be given a new one here."""
        others = [name for name in _OTHERS if self.raw.get(name)]
        if others:
            raise InvalidInput(
                f"{path} is encrypted for {', '.join(others)} too, which cannot be given a new data key here",
                hint="Use the program sops (sops rotate).",
            )

    def data_key(self, identities: t.Sequence[age.Identity]) -> bytes:
        """Raises :class:`age.NotForUs` when none of the identities is a recipient, InvalidInput when there are none."""
        if not identities:
            raise InvalidInput("No age identity was given to read a file of sops with", hint="Give age_key_file.")
        for entry in self._entries:
            try:
                key = age.decrypt(str(entry.get("enc", "")).encode(), identities)
            except age.NotForUs:
                continue
            if len(key) != 32:
                raise Damaged("its data key has not 32 bytes")
            return key
        others = [name for name in _OTHERS if self.raw.get(name)]
        answer = f"it is encrypted for {', '.join(self.recipients or others) or 'nobody'}, not for the given identities"
        raise age.NotForUs("read a file of sops", answer=answer, hint="Give the identity of one of its recipients.")

    def check_mac(self, tree: Tree | list[Tree], key: bytes) -> None:
        if sops_values.decrypt(self.raw["mac"], key, self.raw["lastmodified"]) != sops_values.mac(tree, self.rules):
            raise Damaged("its MAC is not that of its values, some of which were changed, removed or added")

    def renewed(
        self,
        tree: Tree | list[Tree],
        key: bytes,
        recipients: t.Sequence[str],
        now: datetime.datetime,
        *,
        rotated: bool = False,
    ) -> Metadata:
        """For a new version of the values. Entries of recipients that stay are kept, unless they are of an old key."""
        known = {} if rotated else {entry.get("recipient"): entry for entry in self._entries}
        entries = [known.get(recipient) or _entry(key, recipient) for recipient in recipients]
        when = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        text = sops_values.encrypt(sops_values.mac(tree, self.rules), key, when)
        raw = {**self.raw, "age": entries, "lastmodified": when, "mac": text}
        return Metadata(dict(sorted(raw.items())), self.rules)


def new(rules: Rules, *, whole: bool = False) -> Metadata:
    """Of a file that is to be made; one that is a single value has no rules."""
    given = {name: getattr(rules, name) for name in sops_values.RULES if getattr(rules, name)}
    if not given and not whole:
        rules = dataclasses.replace(rules, unencrypted_suffix=DEFAULT_SUFFIX)
        given = {"unencrypted_suffix": DEFAULT_SUFFIX}
    only = {"mac_only_encrypted": True} if rules.mac_only_encrypted else {}
    return Metadata({**given, **only, "version": VERSION}, rules)


def new_key() -> bytes:
    return os.urandom(32)


def _entry(key: bytes, recipient: str) -> Tree:
    return {"enc": age.armored(age.encrypt(key, [recipient])), "recipient": recipient}
