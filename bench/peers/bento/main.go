// Command bento is Bento with the components that reply jobs need and one processor of its own, signed_reply.
// bento.yaml beside it is its configuration; the variables that it is started with are in
// bench/peers/README.md.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/warpstreamlabs/bento/public/service"

	_ "github.com/warpstreamlabs/bento/public/components/kafka"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	_ "github.com/warpstreamlabs/bento/public/components/redis"
)

func main() {
	if err := registerSignedReply(); err != nil {
		fmt.Fprintln(os.Stderr, "bento:", err)
		os.Exit(1)
	}
	service.RunCLI(context.Background())
}
