// Command standalone is all of triggerd in one process. Its verb healthcheck asks one that runs whether it is ready.
//
//	standalone -http-addr 127.0.0.1:8080 -data-dir .data -demo
//	standalone healthcheck -admin-addr 127.0.0.1:9090
package main

import (
	"context"
	"io"
	"os"

	"github.com/triggerd/triggerd/deploy/standalone"
	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/shared/process"
)

func main() {
	if code, ok := operator.Healthcheck(context.Background(), "standalone", os.Args[1:], os.Environ(), os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	var cfg standalone.Config
	os.Exit(process.Execute("standalone", func(ctx context.Context, stderr io.Writer) error {
		deps := standalone.Deps{Logger: cfg.Process.Log.Logger(stderr), Stdout: os.Stdout}
		return standalone.New(cfg, deps).Run(ctx)
	}, &cfg))
}
