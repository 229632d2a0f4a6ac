// Command loadgen puts load on a running triggerd, measures it and audits what it was promised. It exits with 1 if a promise was broken, with 3 if
// that could not be found out.
//
//	loadgen -signing-key .data/keys/signing.pem -rate 2000 -duration 30s -ledger run.ledger
//	loadgen verify -signing-key .data/keys/signing.pem -ledger run.ledger
//
// Four verbs need nothing running: bench measures all that is claimed of triggerd's speed, compare triggerd with several numbers of partitions beside an empty
// handler and beside one synced message a request, growth what partitions and users cost, fairness what an account that floods does to one that is quiet. (serve is for the first two: one of the servers that they measure.)
package main

import (
	"context"
	"io"
	"os"
	"slices"

	"github.com/triggerd/triggerd/deploy/bench"
	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
)

func main() {
	verbs := map[string]func() int{
		"verify":   verb("loadgen verify", &loadgen.VerifyConfig{}, loadgen.PrintVerdict),
		"bench":    verb("loadgen bench", &bench.ClaimsConfig{}, bench.PrintClaims),
		"compare":  verb("loadgen compare", &bench.Config{}, bench.PrintComparison),
		"fairness": verb("loadgen fairness", &bench.FairnessConfig{}, bench.Fairness),
		"growth":   verb("loadgen growth", &bench.GrowthConfig{}, bench.Growth),
		"serve":    verb("loadgen serve", &bench.ServeConfig{}, bench.Serve),
	}
	run := verb("loadgen", &loadgen.Config{}, loadgen.Print)
	if len(os.Args) > 1 && verbs[os.Args[1]] != nil {
		run = verbs[os.Args[1]]
		os.Args = slices.Delete(os.Args, 1, 2)
	}
	os.Exit(run())
}

// verb runs what a configuration says.
func verb[C any, P interface {
	*C
	config.Part
}](name string, cfg P, do func(context.Context, C, io.Writer) error) func() int {
	return func() int {
		code := 0
		failed := process.Execute(name, func(ctx context.Context, _ io.Writer) error {
			err := do(ctx, *cfg, os.Stdout)
			code = loadgen.ExitCode(err)
			return err
		}, cfg)
		return max(code, failed)
	}
}
