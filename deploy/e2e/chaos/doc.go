// Package chaos runs a whole deployment as real processes (three nats-servers in a cluster, ingresses, workers), hurts it while load runs, and holds
// every trigger against the events and the state that came of it.
//
// # Usage
//
//	bin, err := chaos.Build(ctx, dir)
//	f, err := chaos.Start(ctx, chaos.Config{Dir: dir, Binaries: bin, Seed: seed, …})
//	defer f.Close()
//	load, err := f.StartLoad(ctx)
//	for _, n := range chaos.Nemeses() { err = f.Strike(ctx, n, rng) }
//	load.Stop()
//	faults, err := f.Audit(ctx, load)
//
// # Ordering
//
// A nemesis hurts and heals. Strike returns when, after that, every partition has answered a question and accepted a trigger again, with nobody having
// restarted anything for it. Nemeses run one at a time; the load runs all the while.
//
// Each user's triggers are sent one after the other, each with the next number as a variable, also where the one before was refused or has no known
// outcome: so a number stands for one request, and the audit can tell what became of each. See [Audit] for what it holds against what.
//
// # Clocks
//
// The binaries are built with a package time whose Now adds an offset from a file that the process maps ([Clock]). Only the wall clock is shifted:
// timers and measured durations run on. Nothing in the product knows of it.
//
// # Speed
//
// Probes ask the owner of each partition, and an ingress for what it knows by itself, all the time. [Fleet.Report] is a table of the longest times without
// an answer while partitions were moved and taken over, and of how long it took to refill an empty disk. What is claimed of them is held against that, and marked if it does
// not hold; it fails nothing, as the machine may be busy. Config.Users makes files, snapshots and logs as large as they are in earnest.
//
// # Failure
//
// What cannot be done is an error. A process that ends though nobody told it to is a fault of the run ([Fleet.Faults]), and so is whatever
// the audit finds. Every wait is bounded, by Config.Patience at the most.
//
// # Concurrency
//
// A Fleet is used by one goroutine. Load and probes run beside it and are safe for that.
package chaos
