# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bech32 (BIP 173), without its limit on the length: how age writes its keys."""

from __future__ import annotations

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def encode(prefix: str, data: bytes) -> str:
    """``prefix`` in lower case; so is the result."""
    symbols = _regroup(data, 8, 5, pad=True)
    polymod = _polymod([*_expanded(prefix), *symbols, 0, 0, 0, 0, 0, 0]) ^ 1
    symbols += [polymod >> 5 * (5 - place) & 31 for place in range(6)]
    return prefix + "1" + "".join(_ALPHABET[symbol] for symbol in symbols)


def decode(text: str) -> tuple[str, bytes]:
    """Prefix, in lower case, and data. Raises ValueError with what is wrong, without quoting the text."""
    if text not in (text.lower(), text.upper()):
        raise ValueError("upper and lower case are mixed")
    prefix, found, rest = text.lower().rpartition("1")
    if not found or not prefix or len(rest) < 6:
        raise ValueError("it is too short, or has no prefix")
    if not all(symbol in _ALPHABET for symbol in rest):
        raise ValueError("it has letters that do not belong there")
    symbols = [_ALPHABET.index(symbol) for symbol in rest]
    if _polymod([*_expanded(prefix), *symbols]) != 1:
        raise ValueError("its checksum is wrong, there is a typing error in it")
    return prefix, bytes(_regroup(symbols[:-6], 5, 8, pad=False))


def _expanded(prefix: str) -> list[int]:
    return [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]


def _polymod(symbols: list[int]) -> int:
    checksum = 1
    for symbol in symbols:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ symbol
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                checksum ^= generator
    return checksum


def _regroup(data: bytes | list[int], width: int, new: int, *, pad: bool) -> list[int]:
    """Groups of ``width`` bits as groups of ``new`` bits. What is left over must be zero, and less than a group."""
    value, bits, result = 0, 0, []
    for group in data:
        value, bits = value << width | group, bits + width
        while bits >= new:
            bits -= new
            result.append(value >> bits & (1 << new) - 1)
        value &= (1 << bits) - 1
    if pad and bits:
        result.append(value << new - bits & (1 << new) - 1)
    elif not pad and (bits >= width or value):
        raise ValueError("its last letter is wrong")
    return result
