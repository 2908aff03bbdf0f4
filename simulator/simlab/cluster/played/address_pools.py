# SPDX-License-Identifier: GPL-3.0-or-later
"""CiliumLoadBalancerIPPools as numbers: ranges, overlaps, which addresses are taken, which are free."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import ipaddress
import typing as t

from .selectors import Labels, matches

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Of a range that is larger, only so many addresses are looked at for a free one.
_LOOKED_AT = 1 << 16


@dataclasses.dataclass(frozen=True)
class Range:
    """From one address to another, both included; ``reserved`` ones are not given away unless asked for by nobody."""

    first: Address
    last: Address
    reserved: frozenset[Address] = frozenset()

    def __contains__(self, address: Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    def __str__(self) -> str:
        return f"{self.first} - {self.last}"

    @property
    def size(self) -> int:
        return int(self.last) - int(self.first) + 1

    def overlaps(self, other: Range) -> bool:
        same = self.first.version == other.first.version
        return same and int(self.first) <= int(other.last) and int(other.first) <= int(self.last)

    def addresses(self) -> c.Iterator[Address]:
        for step in range(min(self.size, _LOOKED_AT)):
            yield self.first + step


@dataclasses.dataclass
class Pool:
    """``created`` is its creation's timestamp. ``conflict`` is why it gives nothing, "" when it does."""

    name: str
    created: str
    ranges: tuple[Range, ...]
    selector: t.Mapping[str, t.Any] | None = None
    disabled: bool = False
    conflict: str = ""

    @property
    def gives(self) -> bool:
        return not self.disabled and not self.conflict

    def selects(self, labels: Labels) -> bool:
        return self.selector is None or matches(self.selector, labels)

    def range_of(self, address: Address) -> Range | None:
        return next((found for found in self.ranges if address in found), None)

    def counts(self, taken: c.Container[Address]) -> tuple[int, int, int]:
        """Total, available, used; addresses that are reserved count as used."""
        total = sum(found.size for found in self.ranges)
        reserved = {address for found in self.ranges for address in found.reserved}
        used = reserved | {address for address in t.cast("c.Iterable[Address]", taken) if self.range_of(address)}
        return total, total - len(used), len(used)


def pool_of(document: t.Mapping[str, t.Any]) -> Pool:
    """From the object. Raises ValueError when a block cannot be read."""
    meta, spec = document["metadata"], document.get("spec") or {}
    reserve = spec.get("allowFirstLastIPs") == "No"
    ranges = tuple(_range(block, reserve) for block in spec.get("blocks") or spec.get("cidrs") or ())
    created = str(meta.get("creationTimestamp") or "")
    return Pool(meta["name"], created, ranges, spec.get("serviceSelector"), bool(spec.get("disabled")))


def _range(block: t.Mapping[str, t.Any], reserve: bool) -> Range:
    if block.get("cidr"):
        network = ipaddress.ip_network(str(block["cidr"]), strict=False)
        first, last = network.network_address, network.broadcast_address
        wide = int(last) - int(first) > 1
        return Range(first, last, frozenset((first, last)) if reserve and wide else frozenset())
    first = ipaddress.ip_address(str(block.get("start") or ""))
    return Range(first, ipaddress.ip_address(str(block.get("stop") or first)))


def settle(pools: c.Iterable[Pool]) -> None:
    """Say of each pool whether it conflicts: with itself, or with an older one that does not."""
    sound: list[Pool] = []
    for pool in sorted(pools, key=lambda pool: (pool.created, pool.name)):
        pool.conflict = _conflict(pool, sound)
        if not pool.conflict:
            sound.append(pool)


def _conflict(pool: Pool, others: c.Iterable[Pool]) -> str:
    pairs = [(a, b, pool.name) for n, a in enumerate(pool.ranges) for b in pool.ranges[n + 1 :]]
    pairs += [(a, b, other.name) for other in others for a in pool.ranges for b in other.ranges]
    for mine, theirs, name in pairs:
        if mine.overlaps(theirs):
            return f"Pool conflicts since range '{mine}' overlaps range '{theirs}' from IP Pool '{name}'"
    return ""
