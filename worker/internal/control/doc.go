// Package control is what operators, and crashes, say of partitions: that one is paused, and which of its messages have killed a process.
//
// # Usage
//
// Who has something to say calls [Pause], [Resume], [Report] or [Acquit]; who wants to know once calls [Read]. A worker follows:
//
//	orders := control.New(control.Config{}, control.Deps{Broker: b})
//	go orders.Run(ctx)
//	order, err := orders.Await(ctx, 7)   // before anything of partition 7 is started
//	<-orders.Changed()
//	orders.Of(7).Paused()
//
// # What is kept
//
// The bucket CONTROL has two keys for a partition. pause.<p> is an operator's last word: paused or not, who, when, why. A resume does not delete it but
// replaces it, so that its revision tells every worker, however late it hears of it, that what has halted is to be tried again.
// crash.<p> lists suspects: positions at which a process ended while it applied them, and who reported that. They are deleted by a resume.
//
// # Quarantine
//
// A process that ended while it applied a message may have been killed by that message, or by something else. One report proves nothing.
// A position is guilty after two crashes of our own (fatal errors) at it, in whichever homes, or after two ends of any kind in the same home: who is
// killed from outside at random meets another message next time, or has passed this one, whereupon it is acquitted. A crash is told from a kill by what the
// runtime leaves behind (package trail).
//
// # Ordering
//
// Pause and Resume return when the leader has stored them; every worker hears of it a moment later. Reports and acquittals are compare-and-set, so none
// of several at once is lost. A report that is repeated, because its acknowledgement was lost, counts once.
//
// # Failure
//
// [Orders] keeps what it knows while the broker is away. It lists the bucket anew after every reconnect and once in a while, so that
// a watch that missed something is wrong for Config.RelistEvery at most. A list that is older than what is known, as from a replica that lags, changes
// nothing, unless the next one says the same: then the bucket was put back. A pause that cannot be read counts as one: stopping can be
// undone.
//
// # Concurrency
//
// All functions and methods are safe for concurrent use; Run is called once. Of costs a load of a pointer.
package control
