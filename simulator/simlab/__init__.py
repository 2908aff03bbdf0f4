# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated lab: hardware that is played, under software that is real."""
