# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS towards a Talos node: who we are, whom we trust, and what a failed handshake means."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import ssl
import tempfile
import typing as t

from . import pki

#: OpenSSL's verification codes that are not about the authority.
NOT_YET_VALID, EXPIRED = OTHER_TIME = (9, 10)
NAME_MISMATCH = (62, 64)


@dataclasses.dataclass(frozen=True)
class Identity:
    """The cluster's authority (PEM) and a client certificate that it signed."""

    ca: bytes
    client: pki.Pair

    def context(self) -> ssl.SSLContext:
        """Mutual TLS: only the cluster's own authority is trusted."""
        context = _context()
        context.load_verify_locations(cadata=self.ca.decode())
        with _memory_file(self.client.crt + b"\n" + pki.openssl_key(self.client.key)) as path:
            context.load_cert_chain(path)
        return context


def maintenance_context() -> ssl.SSLContext:
    """A node in maintenance mode signs its certificate with an authority of that boot, which it does not show."""
    context = _context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


@contextlib.contextmanager
def _memory_file(data: bytes) -> t.Iterator[str]:
    """The ssl module wants a path: give it one in memory, so that the key never reaches a disk."""
    if not hasattr(os, "memfd_create"):  # macOS: a file that only we can read, gone at once
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
        return
    descriptor = os.memfd_create("talos-client-key")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
