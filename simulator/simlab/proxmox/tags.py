# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags of guests: which of them a caller may give and take."""

from __future__ import annotations

import typing as t

from . import formats
from .api import Call
from .errors import Forbidden


class _Known(t.NamedTuple):
    allowed: set[str]
    #: Those of the datacenter's list: for administrators.
    privileged: set[str]
    #: Whether others than the allowed ones may be made up.
    free: bool


def _known(call: Call) -> _Known:
    administrator = call.allowed.has("/", ["Sys.Modify"])
    privileged = set(formats.split_list(str(call.cluster.options.get("registered-tags", ""))))
    access = user_access(call)
    kind = access.get("user-allow", "free")
    allowed: set[str] = set()
    if kind != "none" or administrator:
        allowed |= set(formats.split_list(access.get("user-allow-list", "")))
    if kind in ("free", "existing") or administrator:
        for guest in call.cluster.guests.values():
            if call.allowed.has(f"/vms/{guest.vmid}", ["VM.Audit"]):
                allowed |= set(formats.split_list(guest.options.get("tags", "")))
    return _Known(allowed | privileged if administrator else allowed - privileged, privileged, kind == "free")


def user_access(call: Call) -> dict[str, str]:
    text = str(call.cluster.options.get("user-tag-access", ""))
    return dict(part.partition("=")[::2] for part in text.split(",") if part)


def allowed(call: Call) -> list[str]:
    """What a caller is offered."""
    return sorted(_known(call).allowed)


def check_change(call: Call, vmid: int, old: str, new: str) -> None:
    """The right on the guest (a pool it will be in does not count), then every tag that comes or goes."""
    call.allowed.require(f"/vms/{vmid}", "VM.Config.Options")
    if call.allowed.has("/", ["Sys.Modify"]):
        return
    known = _known(call)
    before, after = formats.split_list(old), formats.split_list(new)
    for tag in dict.fromkeys([*before, *after]):
        if before.count(tag) == after.count(tag):
            continue
        if (tag not in known.allowed and not known.free) or tag in known.privileged:
            raise Forbidden(f"/, Sys.Modify for modifying tag '{tag}'")
