# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the control plane's program is, and how it is built."""

from __future__ import annotations

import pathlib


def controlplane() -> pathlib.Path:
    """The multi-call program etcd/etcdutl/kube-* in the cache, keyed by its sources. Raises FileNotFoundError (with what
    to do: ``python -m simlab.binaries``) when it has not been built."""
    raise NotImplementedError
