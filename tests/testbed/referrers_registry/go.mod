// SPDX-FileCopyrightText: 2026 The daytwo.aws authors
// SPDX-License-Identifier: GPL-3.0-or-later
module daytwo.example/referrers-registry

go 1.25.0

require github.com/google/go-containerregistry v0.22.1
