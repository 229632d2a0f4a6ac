// Package membership knows which workers live, and who of them owns a partition.
//
// # Usage
//
//	m := membership.New(membership.Config{Self: membership.Member{ID: id, Home: home}}, membership.Deps{Broker: b})
//	go m.Run(ctx)
//	…
//	<-m.Changed()
//	owners := membership.Assign(partitions, m.View().Members)
//	m.Say(func(self *membership.Member) { self.Serves = append(self.Serves, 7) })
//	…                                 // ctx ends, Run returns
//	m.Leave(ctx)
//
// # Ordering
//
// Each worker keeps a key in the bucket MEMBERS and puts it anew every third of the bucket's TTL, and at once when it has something to say.
// Everybody watches the bucket, so all see the same messages in the same order, if not at the same moment. [Membership.View] is unknown
// until the worker's own key is stored and the bucket is listed once. [Assign] and [Standbys] are pure functions: equal views make equal owners.
//
// A member is gone when it deletes its key, or when it has not been heard of for a TTL. That time is counted by the server's timestamps of what
// the others put, and between two of them by the local clock, but never longer than renewals are apart: while nothing is heard,
// nobody expires. No two clocks are compared, and a server's clock that is set makes nobody vanish.
//
// Of several members with the same Home the one that was started last counts: the directory that Home stands for is locked, so the others are
// dead. A worker deletes what its predecessors left there.
//
// # Failure
//
// Views may differ for a while, and a worker that is cut off keeps its last one; so two workers may own a partition, or, for a moment, none.
// Owning is no lock: whoever applies a partition must be harmless beside another one. A renewal that fails is
// tried again at the next one's time, and at once after a reconnect; [Membership.Check] shows it. A watch that misses the worker's own renewals is begun
// anew, and so is every watch once in a while.
//
// # Concurrency
//
// All methods are safe for concurrent use. Run and Leave are called once, in this order.
package membership
