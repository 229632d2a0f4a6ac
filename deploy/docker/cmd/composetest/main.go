// Command composetest runs docker-compose.yml for real and audits it. It fails where there is no Docker.
//
//	go run ./deploy/docker/cmd/composetest -rate 100
package main

import (
	"context"
	"io"
	"os"

	"github.com/triggerd/triggerd/deploy/docker/live"
	"github.com/triggerd/triggerd/shared/process"
)

func main() {
	var cfg live.Config
	os.Exit(process.Execute("compose-test", func(ctx context.Context, _ io.Writer) error {
		return live.Run(ctx, cfg, os.Stdout)
	}, &cfg))
}
