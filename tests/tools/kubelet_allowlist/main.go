// SPDX-FileCopyrightText: 2026 The daytwo.aws authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Checks allow-list patterns by the kubelet's own code. It reads one pattern a line (JSON strings), and prints "" or
// the error for each.
// Build it where the test bed's Kubernetes is: cd tests/testbed/cluster && go build -o CHECK ../../tools/kubelet_allowlist/main.go
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
		message := ""
		if _, err := sysctl.NewAllowlist([]string{pattern}); err != nil {
			message = err.Error()
		}
		output, _ := json.Marshal(message)
		fmt.Println(string(output))
	}
}
