// Command worker is the replyworker: the service, and the tools to run it with.
package main

import (
	"os"

	"replyworker/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Exit))
}
