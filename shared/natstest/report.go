package natstest

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"sync"
)

// report is what a child has said. Safe for concurrent use.
type report struct {
	mu    sync.Mutex
	words map[string]bool
	leads int  // the last saysLeads
	over  bool // it says no more
}

// listen reads what a child says until it says no more.
func (r *report) listen(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		r.take(strings.TrimSpace(lines.Text()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over, r.leads = true, 0
}

func (r *report) take(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := strings.CutPrefix(line, saysLeads); ok {
		r.leads, _ = strconv.Atoi(n)
		return
	}
	if r.words == nil {
		r.words = map[string]bool{}
	}
	r.words[line] = true
}

// has is whether the child has said a word, and whether it will say nothing more.
func (r *report) has(word string) (said, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.words[word], r.over
}

// sees is how many servers the child leads; 0: none.
func (r *report) sees() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leads
}
