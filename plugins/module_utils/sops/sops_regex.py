# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Regular expressions as sops has them, which are those of Go (RE2), for Python.

Both read nearly the same syntax, and differ in silence: to Python ``[[:alpha:]]`` is a set of a few letters, ``\\d`` has the digits
of all scripts, ``$`` stands before a newline too. A value would be left in the clear that was to be encrypted. So every
expression is written anew, and what Go does not have is refused.
"""

from __future__ import annotations

import functools
import re
import sys
import typing as t

from ..errors import InvalidInput

Ranges = tuple[tuple[int, int], ...]


def _ranges(text: str) -> Ranges:
    return tuple((ord(text[at]), ord(text[at + 1])) for at in range(0, len(text), 2))


_DIGIT, _SPACE, _WORD = _ranges("09"), _ranges("\t\n\f\r  "), _ranges("09AZ__az")
_PERL: dict[str, Ranges] = {"d": _DIGIT, "s": _SPACE, "w": _WORD}
_POSIX: dict[str, Ranges] = {
    "alnum": _ranges("09AZaz"), "alpha": _ranges("AZaz"), "ascii": _ranges("\0\x7f"), "blank": _ranges("\t\t  "),
    "cntrl": _ranges("\0\x1f\x7f\x7f"), "digit": _DIGIT, "graph": _ranges("!~"), "lower": _ranges("az"),
    "print": _ranges(" ~"), "punct": _ranges("!/:@[`{~"), "space": _ranges("\t\r  "), "upper": _ranges("AZ"),
    "word": _WORD, "xdigit": _ranges("09AFaf"),
}  # fmt: skip
_LETTERS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_EMPTY = {"A": r"\A", "z": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}
_GROUP = re.compile(r"\((?:\?(?:P?<([A-Za-z0-9_]+)>|(:)|([ims]+)(:)|([ims]+)\)))?")
_REPEAT = re.compile(r"(?:[*+?]|\{(\d+)(?:,(\d*))?\})\??")
_MOST = 1000


def compiled(pattern: str, what: str) -> re.Pattern[str]:
    """Raises InvalidInput that begins with ``what``."""
    try:
        return _compiled(pattern)
    except (ValueError, OverflowError) as error:  # re.error is one too
        raise InvalidInput(f"{what} is not a regular expression: {error}", hint=_HINT) from None


_HINT = "It is one of Go's (RE2), as in sops."


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(_Translation(pattern).done())
    except re.error as error:  # which quotes what was translated
        raise ValueError(error.msg) from None


class _Translation:
    """One pattern on its way. Raises ValueError."""

    def __init__(self, pattern: str) -> None:
        self._pattern, self._at = pattern, 0
        self._lines = self._folds = False

    def done(self) -> str:
        out, repeated = [], True
        while self._at < len(self._pattern):
            quantifier = _REPEAT.match(self._pattern, self._at)
            if quantifier:
                if repeated:
                    raise ValueError(f"{quantifier[0]} repeats nothing")
                if any(int(number) > _MOST for number in quantifier.groups() if number):
                    raise ValueError(f"{quantifier[0]} repeats more than {_MOST} times")
                out.append(quantifier[0])
                self._at = quantifier.end()
                repeated = True
                continue
            piece = self._piece()
            repeated = piece in {"", "|", "("} or (piece.startswith("(?") and not piece.endswith(")"))
            out.append(piece)
        return "".join(out)

    def _take(self, count: int = 1) -> str:
        found = self._pattern[self._at : self._at + count]
        self._at += count
        if len(found) < count:
            raise ValueError("it ends too early")
        return found

    def _piece(self) -> str:
        sign = self._pattern[self._at]
        if sign == "(":
            return self._group()
        self._at += 1
        if sign == "\\":
            return self._escape()
        if sign == "[":
            return self._class()
        if sign == "$":
            return "$" if self._lines else r"\Z"
        return sign if sign in "^.|)" else re.escape(sign)

    def _group(self) -> str:
        found = _GROUP.match(self._pattern, self._at)
        if found is None or (found[0] == "(" and self._pattern.startswith("(?", self._at)):
            raise ValueError(f"{self._pattern[self._at :][:4]} is no group of Go's, or not supported")
        name, _plain, scoped, _colon, whole = found.groups()
        if "m" in (scoped or "") or (whole and self._at):
            raise ValueError(f"{found[0]} is supported at its beginning only")
        self._lines = self._lines or "m" in (whole or "")
        self._folds = self._folds or "i" in (whole or scoped or "")
        self._at = found.end()
        return f"(?P<{name}>" if name else found[0]

    def _escape(self) -> str:
        if self._pattern.startswith("Q", self._at):
            literal, _end, _rest = self._pattern[self._at + 1 :].partition(r"\E")
            self._at = min(len(self._pattern), self._at + len(literal) + 3)
            return re.escape(literal)
        sign = self._pattern[self._at : self._at + 1]
        if sign in _EMPTY and sign:
            self._at += 1
            return _EMPTY[sign]
        if sign.lower() in _PERL and sign.isupper():
            self._at += 1
            return f"[^{_written(_PERL[sign.lower()])}]"
        found = self._escaped()
        return re.escape(chr(found)) if isinstance(found, int) else f"[{_written(found)}]"

    def _escaped(self) -> int | Ranges:
        """A character, or a set of them."""
        sign = self._take()
        if sign.lower() in _PERL:
            return _PERL[sign] if sign.islower() else self._others(_PERL[sign.lower()])
        if sign in _LETTERS:
            return ord(_LETTERS[sign])
        if sign == "x":
            return self._hexadecimal()
        octal = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}").match(self._pattern, self._at - 1)
        if octal:
            self._at = octal.end()
            return int(octal[0], 8)
        if sign.isascii() and not sign.isalnum():
            return ord(sign)
        raise ValueError(f"\\{sign} is nothing in Go's, or not supported")

    def _hexadecimal(self) -> int:
        digits = self._take(2)
        if digits[0] == "{":
            end = self._pattern.find("}", self._at)
            digits, self._at = self._pattern[self._at - 1 : end], end + 1
        if not re.fullmatch("[0-9A-Fa-f]{1,8}", digits) or int(digits, 16) > sys.maxunicode:
            raise ValueError(r"\x has no hexadecimal number of a character after it")
        return int(digits, 16)

    def _class(self) -> str:
        negated = self._pattern.startswith("^", self._at)
        self._at += negated
        found: list[tuple[int, int]] = []
        first = True
        while first or not self._pattern.startswith("]", self._at):
            first = False
            found += self._member()
        self._at += 1
        return f"[{'^' if negated else ''}{_written(tuple(found))}]"

    def _member(self) -> Ranges:
        posix = re.compile(r"\[:(\^?)([a-z]+):\]").match(self._pattern, self._at)
        if posix:
            if posix[2] not in _POSIX:
                raise ValueError(f"{posix[0]} is no class of characters")
            self._at = posix.end()
            return self._others(_POSIX[posix[2]]) if posix[1] else _POSIX[posix[2]]
        low = self._single()
        if not isinstance(low, int):
            return low
        following = self._pattern[self._at : self._at + 2]
        if len(following) < 2 or following[0] != "-" or following[1] == "]":
            return ((low, low),)
        self._at += 1
        high = self._single()
        if not isinstance(high, int) or high < low:
            raise ValueError("a range of characters in it is none")
        return ((low, high),)

    def _single(self) -> int | Ranges:
        sign = self._take()
        return self._escaped() if sign == "\\" else ord(sign)

    def _others(self, ranges: Ranges) -> Ranges:
        """All characters but these, which are in order. Go folds a set before it takes it away, which cannot be said so."""
        if self._folds:
            raise ValueError("what a set in brackets does not have is not supported with (?i)")
        edges = [-1, *(edge for pair in ranges for edge in pair), sys.maxunicode + 1]
        gaps = zip(edges[::2], edges[1::2], strict=True)
        return tuple((low + 1, high - 1) for low, high in gaps if low + 1 <= high - 1)


def _written(ranges: t.Iterable[tuple[int, int]]) -> str:
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
