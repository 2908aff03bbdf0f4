# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and kubeconfigs that a control plane node issues from its machine config."""

from __future__ import annotations

import typing as t


def admin_kubeconfig(config: t.Mapping[str, t.Any]) -> str:
    """What Talos answers to ``Kubeconfig``: user and context ``admin@<cluster name>``, server = the cluster endpoint, a
    client certificate CN ``admin``, O ``system:masters``, one year, issued by ``cluster.ca``. YAML text; holds a key."""
    raise NotImplementedError
