# SPDX-License-Identifier: GPL-3.0-or-later
"""Collected problems of a configuration, and the forms of the formats that rules check."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import ipaddress
import json
import typing as t


@dataclasses.dataclass
class Problems:
    errors: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def add(self, text: str) -> None:
        self.errors.append(text)

    def when(self, wrong: object, text: str) -> None:
        if wrong:
            self.errors.append(text)


def multiple(errors: c.Sequence[str]) -> str:
    """A list of errors as the node prints it, also when it has one entry or is part of another list."""
    head = "1 error occurred:" if len(errors) == 1 else f"{len(errors)} errors occurred:"
    return head + "".join(f"\n\t* {error}" for error in errors) + "\n\n"


def quote(value: object) -> str:
    """A Go string literal."""
    return json.dumps(str(value), ensure_ascii=False)


def is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


def is_cidr(text: object) -> bool:
    try:
        ipaddress.ip_interface(str(text))
    except ValueError:
        return False
    return "/" in str(text) and str(text).rpartition("/")[2].isdigit()


def address_or_cidr(text: str) -> str:
    """What is wrong with an address that may have a prefix; empty if nothing is."""
    if "/" in text:
        return "" if is_cidr(text) else f"invalid CIDR address: {text}"
    return "" if is_address(text) else f"failed to parse IP address {quote(text)}"


def subnet_or_address(text: str) -> bool:
    bare = text.removeprefix("!")
    return is_cidr(bare) or is_address(bare)


def listed(value: t.Any) -> list[t.Any]:
    return list(value or [])
