// SPDX-FileCopyrightText: 2026 The daytwo.aws authors
// SPDX-License-Identifier: GPL-3.0-or-later

// A registry with the referrers API, in memory: main ADDRESS.
package main

import (
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	handler := registry.New(registry.WithReferrersSupport(true))
	log.Fatal(http.Serve(listener, handler))
}
