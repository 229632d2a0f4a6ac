// Command standalone is all of triggerd in one process.
//
//	standalone -http-addr 127.0.0.1:8080 -data-dir .data -demo
package main

import (
	"context"
	"io"
	"os"

	"github.com/triggerd/triggerd/deploy/standalone"
	"github.com/triggerd/triggerd/shared/process"
)

func main() {
	var cfg standalone.Config
	os.Exit(process.Execute("standalone", func(ctx context.Context, stderr io.Writer) error {
		deps := standalone.Deps{Logger: cfg.Process.Log.Logger(stderr), Stdout: os.Stdout}
		return standalone.New(cfg, deps).Run(ctx)
	}, &cfg))
}
