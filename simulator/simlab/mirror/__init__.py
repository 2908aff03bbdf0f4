# SPDX-License-Identifier: GPL-3.0-or-later
"""The internet of the lab: Image Factory, files of other hosts, name server."""
