# SPDX-License-Identifier: GPL-3.0-or-later
"""The program ``ip`` of iproute2: batches of commands, one process each."""

from __future__ import annotations

import asyncio
import re
import typing as t


class NetworkError(Exception):
    """``ip`` refused a command; the text names both."""


async def ip(commands: t.Sequence[str], namespace: str | None = None) -> None:
    """Run these ``ip`` commands (without the word ``ip``), in this order, in the named network namespace; the first
    that fails ends the batch with :class:`NetworkError`. An empty batch is nothing.
    """
    if not commands:
        return
    argv = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise NetworkError("the program ip is missing: install iproute2") from None
    _, complaint = await process.communicate("\n".join([*commands, ""]).encode())
    if process.returncode != 0:
        raise NetworkError(_explain(commands, complaint.decode(errors="replace").strip(), namespace))


def _explain(commands: t.Sequence[str], complaint: str, namespace: str | None) -> str:
    failed = re.search(r"Command failed -:(\d+)", complaint)
    command = commands[int(failed[1]) - 1] if failed and int(failed[1]) <= len(commands) else "; ".join(commands)
    where = f" in namespace {namespace}" if namespace else ""
    reason = complaint.partition("\nCommand failed")[0] or "no reason given"
    return f"ip {command}{where}: {reason}"
