# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several nodes at once, within bounds."""

from __future__ import annotations

import concurrent.futures
import typing as t

#: How many nodes are talked to at once.
POOL = 8

T = t.TypeVar("T")
U = t.TypeVar("U")


def in_pool(work: t.Callable[[T], U], given: t.Sequence[T]) -> list[U]:
    """Do it for all at once, at most :data:`POOL` at a time; the first error, in the order given, after all ended."""
    if len(given) <= 1:
        return [work(one) for one in given]
    with concurrent.futures.ThreadPoolExecutor(max_workers=POOL) as pool:
        futures = [pool.submit(work, one) for one in given]
    return [future.result() for future in futures]
