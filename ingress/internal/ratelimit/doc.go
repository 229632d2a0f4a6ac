// Package ratelimit says whether an account may send another trigger: so many a second, and so many at once, over the whole deployment.
//
// # Usage
//
//	l, err := ratelimit.New(ratelimit.Config{Default: ratelimit.Limit{Rate: 100}}, ratelimit.Deps{Broker: b, Peers: peers})
//	grant := l.Take(account, 1)
//	if grant.Taken < 1 { … } // repeat after grant.Wait
//	l.Close()
//
// [Set], [Remove] and [List] are what operators do ([Command]).
//
// # Limits
//
// A [Limit] is a token bucket: Burst triggers may come at once, and Rate a second in the long run. Config.Default is every account's, unless the bucket LIMITS
// has one for it, one key per account. Every ingress watches that bucket, so a change holds everywhere as soon as the watch brings it, and at the latest after
// Config.RelistEvery.
//
// Each ingress gives what is its part of a limit: Rate and Burst divided by the live ingresses, but at least one trigger at once, so that a limit
// that is divided never comes to nothing. So an account whose callers all reach one ingress has only that part. When an ingress starts, its part begins full: what an account may do
// at once is exceeded by that, once.
//
// # Why not golang.org/x/time/rate
//
// What counts is decided anew for each trigger, from the number of ingresses and what an operator says; there a limiter keeps its limit, and every one would have to be
// found and told. Nor could it be asked whether forgetting it would lose anything. The arithmetic is ten lines.
//
// # Failure
//
// While the broker is away what is known stays. A key that cannot be read, as one that a later version wrote, leaves what was known of its account, and is said in the log.
//
// # Memory
//
// A bucket is kept for each account that has not got all its triggers back, at most Config.MaxAccounts. Buckets that are full again are forgotten, which loses nothing. If
// there is no place for one more, its account passes, counted in a metric: it is better to be too kind to one than to refuse whoever comes last.
//
// # Concurrency
//
// A Limiter is safe for concurrent use. It has one goroutine, which Close waits for. Where no account has a limit, Take costs one atomic read.
package ratelimit
