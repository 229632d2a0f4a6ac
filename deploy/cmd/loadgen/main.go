// Command loadgen puts load on a running triggerd, measures it and audits what it was promised. It exits with 1 if a promise was broken.
//
//	loadgen -signing-key .data/keys/signing.pem -rate 2000 -duration 30s
//
// Its verb compare needs nothing running: it measures triggerd beside an empty handler and beside one synced message a request.
//
//	loadgen compare -partitions 1,4
//
// Its verb growth shows what partitions and users cost.
//
//	loadgen growth -partitions 1,64 -users 10000,1000000
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/triggerd/triggerd/deploy/bench"
	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/shared/process"
)

var errBroken = errors.New("promises were broken")

func main() {
	verbs := map[string]func() int{"compare": compare, "growth": growth}
	if len(os.Args) > 1 && verbs[os.Args[1]] != nil {
		verb := verbs[os.Args[1]]
		os.Args = slices.Delete(os.Args, 1, 2)
		os.Exit(verb())
	}
	os.Exit(load())
}

func load() int {
	var cfg loadgen.Config
	return process.Execute("loadgen", func(ctx context.Context, _ io.Writer) error {
		report, err := loadgen.Run(ctx, cfg)
		if err != nil {
			return err
		}
		report.Print(os.Stdout)
		if len(report.Broken) > 0 {
			return errBroken
		}
		return nil
	}, &cfg)
}

func compare() int {
	var cfg bench.Config
	return process.Execute("loadgen compare", func(ctx context.Context, stderr io.Writer) error {
		table, err := bench.Compare(ctx, cfg, stderr)
		if err == nil {
			table.Print(os.Stdout)
		}
		return err
	}, &cfg)
}

func growth() int {
	var cfg bench.GrowthConfig
	return process.Execute("loadgen growth", func(ctx context.Context, _ io.Writer) error {
		return bench.Growth(ctx, cfg, os.Stdout)
	}, &cfg)
}
