# SPDX-License-Identifier: GPL-3.0-or-later
"""Storages: definitions, volumes, files, downloads."""
