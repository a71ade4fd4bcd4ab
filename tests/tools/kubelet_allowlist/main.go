// SPDX-FileCopyrightText: 2026 The daytwo.aws authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Asks the kubelet's own code: reads patterns, one a line (JSON strings), answers for each with "" or its error.
// Build it where the bed's Kubernetes is: cd tests/testbed/cluster && go build -o ASK ../../tools/kubelet_allowlist/main.go
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/kubernetes/pkg/kubelet/sysctl"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var pattern string
		if err := json.Unmarshal(lines.Bytes(), &pattern); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		said := ""
		if _, err := sysctl.NewAllowlist([]string{pattern}); err != nil {
			said = err.Error()
		}
		answer, _ := json.Marshal(said)
		fmt.Println(string(answer))
	}
}
