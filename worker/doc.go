// Package worker owns partitions: it applies their logs, keeps their state in files, emits their events, and answers questions about
// them. Any number of workers, from one to the number of partitions, share a deployment; more are idle. A data directory has one worker at a
// time and is locked by it, and workers that share one (Config.DataHomes) take parts of it; a Worker needs nothing but a broker to talk to.
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
// # Ownership
//
// Workers know of each other through keys that they renew (package membership), and each computes from the same set which partitions are its own. A
// partition that falls to a worker is started there at once. The worker that had it goes on serving it until the new one says that it
// serves, however long that takes; then it stands by, or drains. So while a partition moves it has two owners, which is harmless: each derives the
// same state into its own file, EVENTS-p takes each event from whoever comes first, and an answer says up to where its worker has applied.
//
// Unless Config.NoStandby is set, the worker that would own a partition if its owner vanished stands by: it follows the partition, and becomes its owner
// without reading anything but the end of the log.
//
// A worker that is told to stop says so, goes on until others serve what it has, at most for Config.LeaveTimeout, drains, and deletes its
// key. One that dies is found out when its key has not been renewed for the bucket's TTL; the standbys then take over. One that cannot
// renew goes on: it is cut off, or all are. When it renews again after more than a TTL it does not claim to serve anything before it has applied what it
// missed.
//
// # Ordering
//
// Run starts all partitions that fall to the worker at once; each is started, drained and halted on its own. [Worker.Ready] tells when the
// members are known and each of those partitions serves, or has halted.
//
// # Failure
//
// A partition that halts stays halted here until an operator resumes it (worker resume) or the process is restarted; the others go on, another worker
// tries it, and readiness names it if nobody is left to try. While an operator has paused a partition (package control) whoever has it drains it, and
// nobody starts it. Before a worker starts anything it reports what its former run was applying when it ended, if that did not end in good order; a
// message that has ended processes twice is not applied again until an operator resumes. A broker that is away is waited for. Run fails only if the data directory cannot be made or is another worker's.
//
// # Metrics
//
// A partition's gauges are shown by its owner alone, which is, while it moves, the new one; a standby shows how far behind it is; that a
// partition has halted here is shown as long as the process lives. Counters stay, since they say what happened here, except that a standby counts no
// triggers.
//
// # Concurrency
//
// All methods are safe for concurrent use; Run is called once.
package worker
