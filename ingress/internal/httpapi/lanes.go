package httpapi

import (
	"sync"
	"time"
)

// lanes let what concerns one user happen in its order, one thing after the other, while things of other users go on beside it.
type lanes struct {
	slots   chan struct{} // one for each thing in hand, and for each that is kept back
	working sync.WaitGroup

	keptBack int
	until    time.Time

	mu      sync.Mutex
	waiting map[string][]func() // by user for whom something is under way: what waits behind it
}

// newLanes have at most parallel things in hand.
func newLanes(parallel int) *lanes {
	return &lanes{slots: make(chan struct{}, parallel), waiting: make(map[string][]func())}
}

// few has at most n things in hand for a while, instead of parallel. It is to be called before anything is sent.
func (l *lanes) few(n int, while time.Duration) {
	l.keptBack, l.until = max(0, cap(l.slots)-n), time.Now().Add(while)
	for range l.keptBack {
		l.slots <- struct{}{}
	}
}

// send puts work on its way, or behind that of the same user. It waits for a slot. One goroutine sends.
func (l *lanes) send(user string, work func()) {
	for ; l.keptBack > 0 && time.Now().After(l.until); l.keptBack-- {
		<-l.slots
	}
	l.slots <- struct{}{}
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiting, busy := l.waiting[user]; busy {
		l.waiting[user] = append(waiting, work)
		return
	}
	l.waiting[user] = nil
	l.working.Go(func() { l.carry(user, work) })
}

// wait returns when all is done.
func (l *lanes) wait() { l.working.Wait() }

// carry does work, and then what of the same user came after it.
func (l *lanes) carry(user string, work func()) {
	for work != nil {
		work()
		<-l.slots
		work = l.next(user)
	}
}

// next takes what waits behind user's last one. Without anything the user has no lane any more.
func (l *lanes) next(user string) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := l.waiting[user]
	if len(waiting) == 0 {
		delete(l.waiting, user)
		return nil
	}
	l.waiting[user] = waiting[1:]
	return waiting[0]
}
