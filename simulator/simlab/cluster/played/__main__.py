# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m simlab.cluster.played --kubeconfig FILE lbipam gateway``: until it is ended, or its input ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pathlib
import sys

from .beside import CONTROLLERS, play


async def _input_ends() -> None:
    """Whoever started this process has gone, or wants it to go."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def readable() -> None:
        if not os.read(sys.stdin.fileno(), 4096) and not ended.done():
            ended.set_result(None)

    loop.add_reader(sys.stdin.fileno(), readable)
    try:
        await ended
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def _run(kubeconfig: pathlib.Path, names: list[str]) -> None:
    tasks = [asyncio.ensure_future(play(kubeconfig, names)), asyncio.ensure_future(_input_ends())]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simlab.cluster.played", description=__doc__)
    parser.add_argument("--kubeconfig", type=pathlib.Path, required=True)
    parser.add_argument("names", nargs="+", choices=sorted(CONTROLLERS))
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(given.kubeconfig, given.names))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
