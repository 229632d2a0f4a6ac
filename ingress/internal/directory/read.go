package directory

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// errClosed: the Directory was closed.
var errClosed = errors.New("directory is closed")

// reads keeps, for each account, at most one read in flight and one to follow it.
type reads struct {
	mu      sync.Mutex
	flights map[string]*flight
	closed  bool
}

// flight exists while a read of its account is in flight.
type flight struct{ next *read }

// read is shared by all who asked before it was sent.
type read struct {
	done chan struct{} // closed when the rest is set
	cat  *catalogue
	err  error
}

// fresh returns the account's catalogue as the leader has it, read after this call began.
func (d *Directory) fresh(ctx context.Context, account string) (*catalogue, error) {
	r, err := d.join(account)
	if err != nil {
		return nil, err
	}
	select {
	case <-r.done:
		return r.cat, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *Directory) join(account string) (*read, error) {
	d.reads.mu.Lock()
	defer d.reads.mu.Unlock()
	if d.reads.closed {
		return nil, errClosed
	}
	f := d.reads.flights[account]
	if f == nil {
		return d.start(account), nil
	}
	if f.next == nil {
		f.next = &read{done: make(chan struct{})}
	}
	return f.next, nil
}

// start sends the account's first read. The mutex is held.
func (d *Directory) start(account string) *read {
	if d.reads.flights == nil {
		d.reads.flights = map[string]*flight{}
	}
	d.reads.flights[account] = &flight{}
	r := &read{done: make(chan struct{})}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		for next := r; next != nil; next = d.reads.after(account) {
			next.cat, next.err = d.leader(d.ctx, account)
			close(next.done)
		}
	}()
	return r
}

// after returns the read that is to follow, nil if nobody asked meanwhile.
func (r *reads) after(account string) *read {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.flights[account].next
	if next == nil {
		delete(r.flights, account)
		return nil
	}
	r.flights[account].next = nil
	return next
}

func (r *reads) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// leader reads the account's key from the leader of the bucket's stream and feeds the copy.
func (d *Directory) leader(ctx context.Context, account string) (*catalogue, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ReadTimeout)
	defer cancel()
	cat, err := d.readKey(ctx, key(account))
	if err != nil {
		d.metrics.reads.WithLabelValues("error").Inc()
		return nil, fmt.Errorf("read from the leader of %s: %w", Bucket, err)
	}
	d.metrics.reads.WithLabelValues("ok").Inc()
	if cat.revision == 0 {
		return cat, nil // nothing to feed, and whatever the copy has was deleted
	}
	return d.copy.feed(account, cat), nil
}

func (d *Directory) readKey(ctx context.Context, key string) (*catalogue, error) {
	data, revision, err := d.broker.KVGet(ctx, Bucket, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return index(nil, 0), nil
	}
	if err != nil {
		return nil, err
	}
	return parse(data, revision)
}
