# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from integration.models import read_models_once

read_models_once()  # moto, which is in the process of the tests, would parse them anew for each test
