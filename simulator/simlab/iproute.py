# SPDX-License-Identifier: GPL-3.0-or-later
"""The program ``ip`` of iproute2: batches of commands, one process each."""

from __future__ import annotations

import asyncio
import contextlib
import re
import typing as t

#: Seconds for a batch. The kernel needs milliseconds, but may wait for an interface that something still holds.
_PATIENCE = 20.0


class NetworkError(Exception):
    """``ip`` refused a command, or did not come back from it; the text names both."""


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
    try:
        async with asyncio.timeout(_PATIENCE):
            _, complaint = await process.communicate("\n".join([*commands, ""]).encode())
    except TimeoutError:
        process.kill()
        with contextlib.suppress(TimeoutError):  # the kernel may not even let it die
            await asyncio.wait_for(process.wait(), 1.0)
        raise NetworkError(_explain(commands, f"not done after {_PATIENCE:g} s", namespace)) from None
    if process.returncode != 0:
        raise NetworkError(_explain(commands, complaint.decode(errors="replace").strip(), namespace))


def _explain(commands: t.Sequence[str], complaint: str, namespace: str | None) -> str:
    failed = re.search(r"Command failed -:(\d+)", complaint)
    command = commands[int(failed[1]) - 1] if failed and int(failed[1]) <= len(commands) else "; ".join(commands)
    where = f" in namespace {namespace}" if namespace else ""
    reason = complaint.partition("\nCommand failed")[0] or "no reason given"
    return f"ip {command}{where}: {reason}"
