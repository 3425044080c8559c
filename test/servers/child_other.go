//go:build !linux

package servers

import "os/exec"

// Elsewhere than on Linux the package builds, and where Java and Redis are installed by hand it may
// work; nothing ties the children to this process then but Close.

func tie(*exec.Cmd) {}

func endTogether(*exec.Cmd) {}
