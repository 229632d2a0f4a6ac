package appender

import "github.com/prometheus/client_golang/prometheus/testutil"

// QueueLen is how many records of partition p wait to be sent.
func QueueLen(a *Appender, p int) int {
	part := a.parts[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	return part.queue.records
}

// CycleQueue pushes and pops n calls of some accounts.
func CycleQueue(n, accounts int) {
	q, names, calls := newQueue(), make([]string, accounts), make([]call, accounts)
	for i := range names {
		names[i] = string(rune('a' + i))
	}
	for i := 0; i < n; i += accounts {
		for j := range calls {
			calls[j].account = names[j]
			q.push(&calls[j])
		}
		for range calls {
			q.pop()
		}
	}
}

// Connected is what the appender thinks of its connection.
func Connected(a *Appender) bool { return a.connected.Load() }

// Tally is how many records of partition p were acknowledged, and how often the log gave a place a second time.
func Tally(a *Appender, p int) (stored, reversals float64) {
	return testutil.ToFloat64(a.metrics.stored[p]), testutil.ToFloat64(a.metrics.reversals[p])
}

// Seize keeps the goroutine of partition p from going on as soon as it is called upon, until release.
func Seize(a *Appender, p int) (release func()) {
	a.parts[p].mu.Lock()
	a.parts[p].poke()
	return a.parts[p].mu.Unlock
}
