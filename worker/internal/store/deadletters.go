package store

import (
	"fmt"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

type deadEntry struct {
	position record.Position
	sealed   []byte
}

// PutDeadLetter implements machine.Store. Positions rise.
func (s *Store) PutDeadLetter(l machine.DeadLetter) {
	g := s.active
	s.key = appendPosition(s.key[:0], l.Position)
	buf := g.data.begin()
	start := len(buf)
	buf = appendDeadLetter(buf, &l)
	buf = appendSeal(buf, start, deadLetters, 0, s.key)
	g.bytes += int64(len(buf)-start) + outcomeOverhead
	g.dead = append(g.dead, deadEntry{l.Position, g.data.end(buf)})
}

// DeadLetters implements machine.Store.
func (s *Store) DeadLetters(limit int) (letters []machine.DeadLetter, err error) {
	for _, g := range []*generation{s.active, s.frozen} {
		if g == nil {
			continue
		}
		for i := len(g.dead) - 1; i >= 0 && len(letters) < limit; i-- {
			l, err := decodeDeadLetter(g.dead[i].position, contentOf(g.dead[i].sealed))
			if err != nil {
				return nil, fmt.Errorf("read dead letters: %w", err)
			}
			letters = append(letters, l)
		}
	}
	if letters, err = s.readDeadLetters(letters, limit); err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return letters, nil
}

// readDeadLetters appends those of the file that are older than all in letters.
func (s *Store) readDeadLetters(letters []machine.DeadLetter, limit int) (_ []machine.DeadLetter, err error) {
	r, err := s.file.read()
	if err != nil {
		return nil, err
	}
	defer s.file.done()
	defer guard()(&err)
	b, err := r.table(deadLetters)
	if err != nil {
		return nil, err
	}
	c := b.Cursor()
	for k, v := c.Last(); k != nil && len(letters) < limit; k, v = c.Prev() {
		p, err := decodePosition(k)
		if err != nil {
			return nil, err
		}
		if n := len(letters); n > 0 && p.Compare(letters[n-1].Position) >= 0 {
			continue
		}
		content, err := unseal(deadLetters, 0, k, v)
		if err != nil {
			return nil, err
		}
		l, err := decodeDeadLetter(p, content)
		if err != nil {
			return nil, err
		}
		letters = append(letters, l)
	}
	return letters, nil
}
