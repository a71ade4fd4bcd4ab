# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of the bed's cluster: they boot from their user data as their AMI does, and run real kubelets."""
