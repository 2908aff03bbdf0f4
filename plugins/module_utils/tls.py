# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS for connections that several threads open at the same time."""

from __future__ import annotations

import ssl
import typing as t

#: What urllib3 speaks.
_PROTOCOLS = ["http/1.1"]


def for_threads(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, which any number of threads may give to urllib3.

    urllib3 names the protocols anew for each connection. OpenSSL then frees the list that a connection of another thread may
    be copying just now, as Python lets go of its lock there: the server gets a broken greeting (``decode error``), seldom and
    under load. So they are named once, here.
    """
    context.set_alpn_protocols(_PROTOCOLS)
    context.set_alpn_protocols = _named_already  # type: ignore[method-assign]
    return context


def _named_already(alpn_protocols: t.Iterable[str]) -> None:
    if list(alpn_protocols) != _PROTOCOLS:
        raise ValueError(f"this context speaks {_PROTOCOLS}, not {alpn_protocols}")
