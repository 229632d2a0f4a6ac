// Command loadgen puts load on a running triggerd, measures it and audits what it was promised. It exits with 1 if a promise was broken.
//
//	loadgen -signing-key .data/keys/signing.pem -rate 2000 -duration 30s
//
// Three verbs need nothing running: compare measures triggerd beside an empty handler and beside one synced message a request, growth what
// partitions and users cost, fairness what an account that floods does to one that is quiet.
//
//	loadgen compare -partitions 1,4
//	loadgen fairness
//	loadgen growth -partitions 1,64 -users 10000,1000000
package main

import (
	"context"
	"io"
	"os"
	"slices"

	"github.com/triggerd/triggerd/deploy/bench"
	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/shared/process"
)

func main() {
	verbs := map[string]func() int{"compare": compare, "growth": growth, "fairness": fairness}
	run := load
	if len(os.Args) > 1 && verbs[os.Args[1]] != nil {
		run = verbs[os.Args[1]]
		os.Args = slices.Delete(os.Args, 1, 2)
	}
	os.Exit(run())
}

func load() int {
	var cfg loadgen.Config
	return process.Execute("loadgen", func(ctx context.Context, _ io.Writer) error { return loadgen.Print(ctx, cfg, os.Stdout) }, &cfg)
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
	return process.Execute("loadgen growth", func(ctx context.Context, _ io.Writer) error { return bench.Growth(ctx, cfg, os.Stdout) }, &cfg)
}

func fairness() int {
	var cfg bench.FairnessConfig
	return process.Execute("loadgen fairness", func(ctx context.Context, _ io.Writer) error { return bench.Fairness(ctx, cfg, os.Stdout) }, &cfg)
}
