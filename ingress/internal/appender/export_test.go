package appender

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
