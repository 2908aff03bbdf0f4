# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Annotations in which tools keep a copy of the whole object that they applied: of a Secret, all that it holds."""

from __future__ import annotations

#: kubectl's, without ``--server-side``.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
COPIES = (LAST_APPLIED, "kubecfg.ksonnet.io/last-applied-configuration", "kapp.k14s.io/original")
