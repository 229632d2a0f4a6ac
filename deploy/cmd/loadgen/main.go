// Command loadgen puts load on a running triggerd, measures it and audits what it was promised.
//
//	loadgen -signing-key .data/keys/signing.pem -rate 2000 -duration 30s
//
// It exits with 1 if a promise was broken.
package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/shared/process"
)

var errBroken = errors.New("promises were broken")

func main() {
	var cfg loadgen.Config
	os.Exit(process.Execute("loadgen", func(ctx context.Context, _ io.Writer) error {
		report, err := loadgen.Run(ctx, cfg)
		if err != nil {
			return err
		}
		report.Print(os.Stdout)
		if len(report.Broken) > 0 {
			return errBroken
		}
		return nil
	}, &cfg))
}
