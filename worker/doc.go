// Package worker owns partitions: it applies their logs, keeps their state in files, emits their events, and answers questions about
// them. A process has at most one Worker per data directory; a Worker needs nothing but a broker to talk to.
//
// # Usage
//
//	var cfg worker.Config
//	cfg.RegisterFlags(fs)          // -checkpoint-every …
//	cfg.DataDir = dir
//	w, err := worker.New(cfg, worker.Deps{Broker: b, Logger: log, Registerer: reg, Health: health})
//	…
//	err = w.Run(ctx)               // or as a part of a program: w.Part()
//
// # Ordering
//
// Run starts all partitions at once; each is started, drained and halted on its own. [Worker.Ready] tells when each of
// them serves, or has halted.
//
// # Failure
//
// A partition that halts stays halted until the process is restarted; the others go on, and readiness names it. A broker that
// is away is waited for. Run fails only if the data directory cannot be made.
//
// # Concurrency
//
// All methods are safe for concurrent use; Run is called once.
package worker
