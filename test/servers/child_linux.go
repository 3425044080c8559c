package servers

import (
	"os/exec"
	"syscall"
)

// tie makes a child die with this process. A group of its own keeps Ctrl-C on a terminal from it: that
// is for who started the servers, who stops them in order.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// endTogether makes a command's context end what the command runs, too.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}
