# SPDX-License-Identifier: GPL-3.0-or-later
"""What real Talos 1.13.9 nodes answered: the recordings under tests/conformance/talos, as data."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
import typing as t

ROOT = pathlib.Path(__file__).parents[2] / "conformance" / "talos" / "recordings"
_CALL = re.compile(r"^(/[\w.]+/\w+) (unary|stream|SKIPPED)(?: (.*))?$")
_RESULT = re.compile(r'^  => code=\d+ (\w+) message="((?:[^"\\]|\\.)*)"')


@dataclasses.dataclass(frozen=True)
class Recorded:
    """One call: its path, arguments as recorded, code in gRPC's spelling, message."""

    path: str
    arguments: str
    code: str
    message: str
    section: str = ""


def calls(name: str) -> list[Recorded]:
    found, current, section = [], None, ""
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("##"):
            section = line.lstrip("# ")
        if (call := _CALL.match(line)) and call[2] != "SKIPPED":
            current = call
        elif current is not None and (result := _RESULT.match(line)):
            text = json.loads(f'"{result[2]}"')
            found.append(Recorded(current[1], current[3] or "", _code(result[1]), text, section))
            current = None
    return found


def _code(name: str) -> str:
    """``InvalidArgument`` as ``INVALID_ARGUMENT``."""
    return name if name == "OK" else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


# --- the 50 invalid configurations
@functools.cache
def invalid_cases() -> list[dict[str, t.Any]]:
    text = (ROOT / "invalid" / "cases.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def base() -> str:
    return (ROOT / "invalid" / "base.yaml").read_text(encoding="utf-8")


def text_of(case: dict[str, t.Any]) -> bytes:
    """The uploaded configuration: the base with the case's difference, secrets filled in."""
    if case["text"] is not None:
        return str(case["text"]).encode()
    if case["diff"] is not None:
        return filled(_patched(base(), case["diff"])).encode()
    return filled(_ONE_OF_A_KIND[case["case"]]()).encode()


def filled(text: str) -> str:
    """Values in the place of what the recording leaves out: any base64 will do for keys."""
    text = re.sub(r"LS0t\w+…", "aGVsbG8=", text)
    return text.replace("<private key, base64 PEM>", "aGVsbG8=").replace("<secret>", "abcdef.0123456789abcdef")


#: The recording gives neither text nor difference: the base and its first document again.
_ONE_OF_A_KIND = {"24-two-v1alpha1": lambda: base().rstrip("\n") + "\n---\n" + base().partition("---\n")[0]}


def _patched(text: str, diff: str) -> str:
    """Apply a unified diff with exact context."""
    source, out, position = text.splitlines(), [], 0
    lines = diff.splitlines()[2:]
    for line in lines:
        hunk = re.match(r"@@ -(\d+)", line)
        if hunk:
            start = int(hunk[1]) - 1
            out += source[position:start]
            position = start
            continue
        sign, content = line[:1], line[1:]
        if sign in (" ", "-", ""):
            if position < len(source):
                assert source[position] == content, (source[position], content)
            position += 1
        if sign in (" ", "+", ""):
            out.append(content)
    return "\n".join(out + source[position:]) + "\n"
