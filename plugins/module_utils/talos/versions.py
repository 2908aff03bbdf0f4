# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Talos goes with which Kubernetes, and what this room can generate. Source: Talos's own compatibility rules."""

from __future__ import annotations

import dataclasses
import re

from ..errors import InvalidInput

DEFAULT_TALOS = "v1.13.9"
DEFAULT_KUBERNETES = "v1.36.3"

#: Minor version of Talos 1: the oldest and the newest minor version of Kubernetes 1 that it runs.
KUBERNETES_RANGE: dict[int, tuple[int, int]] = {12: (30, 35), 13: (31, 36), 14: (32, 37)}

#: Version contracts that configs are generated for. Later Talos versions still take them.
CONTRACTS = (12, 13)

#: From this minor version on, Talos's own installer image is only at the Image Factory.
FACTORY_ONLY = 14
#: The Image Factory's id of the schematic without any customization.
EMPTY_SCHEMATIC = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"

_VERSION = re.compile(r"v?1\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?")
_CONTRACT = re.compile(r"v?1\.(\d+)(\.\d+.*)?")


@dataclasses.dataclass(frozen=True)
class Version:
    """Version 1.``minor`` with its text, which starts with ``v``."""

    text: str
    minor: int


def parse(text: str, what: str) -> Version:
    match = _VERSION.fullmatch(text.strip())
    if not match:
        raise InvalidInput(f"{what} is {text!r}, which is no version", hint="It looks like v1.13.9.")
    return Version(f"v{text.strip().lstrip('v')}", int(match[1]))


def checked_pair(talos: str, kubernetes: str) -> tuple[Version, Version]:
    """Both versions, after checking that this Talos is known and runs this Kubernetes."""
    system, cluster = parse(talos, "talos_version"), parse(kubernetes, "kubernetes_version")
    known = KUBERNETES_RANGE.get(system.minor)
    if known is None:
        low, high = min(KUBERNETES_RANGE), max(KUBERNETES_RANGE)
        raise InvalidInput(
            f"talos_version is {system.text}, and this collection knows Talos 1.{low} to 1.{high}",
        )
    low, high = known
    if not low <= cluster.minor <= high:
        raise InvalidInput(
            f"Talos {system.text} does not run Kubernetes {cluster.text}",
            hint=f"It runs 1.{low} to 1.{high}.",
        )
    return system, cluster


def checked_contract(contract: str | None, talos: Version) -> int:
    """The contract's minor version: as given, or the newest that this Talos and this room know."""
    if not contract:
        return max(minor for minor in CONTRACTS if minor <= talos.minor)
    match = _CONTRACT.fullmatch(contract.strip())
    if not match or int(match[1]) not in CONTRACTS:
        known = " and ".join(f"1.{minor}" for minor in CONTRACTS)
        raise InvalidInput(f"contract is {contract!r}", hint=f"Configs are generated for {known}.")
    if int(match[1]) > talos.minor:
        raise InvalidInput(f"The contract {contract} is newer than Talos {talos.text}, which would refuse the config")
    return int(match[1])


def installer_image(talos: Version) -> str:
    """Talos's own installer, for people who name no Image Factory schematic."""
    if talos.minor >= FACTORY_ONLY:
        return f"factory.talos.dev/metal-installer/{EMPTY_SCHEMATIC}:{talos.text}"
    return f"ghcr.io/siderolabs/installer:{talos.text}"
