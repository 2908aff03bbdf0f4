# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are real processes: programs of the lab, in a network and mount namespace as their pod asks for."""
