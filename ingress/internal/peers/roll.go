package peers

// roll is who lives, by what a bucket shows. It does no I/O and reads no clock.
type roll struct {
	self   string
	missed map[string]int  // of each that counts, how many lists in a row lacked it
	shown  map[string]bool // by the list that is under way
}

// mayMiss is how many lists in a row may lack somebody who counts.
const mayMiss = 1

func newRoll(self string) *roll { return &roll{self: self, missed: map[string]int{}} }

// begin begins a list.
func (r *roll) begin() { r.shown = map[string]bool{} }

// take takes one entry, of a list or news. One that does not live has left, by its own word.
func (r *roll) take(id string, lives bool) {
	if !lives {
		delete(r.missed, id)
		return
	}
	r.missed[id] = 0
	r.shown[id] = true
}

// listed ends the list.
func (r *roll) listed() {
	for id := range r.missed {
		if r.shown[id] {
			continue
		}
		if r.missed[id]++; r.missed[id] > mayMiss {
			delete(r.missed, id)
		}
	}
}

// count is how many live. This ingress does, whatever the bucket says.
func (r *roll) count() int {
	n := len(r.missed)
	if _, ok := r.missed[r.self]; !ok {
		n++
	}
	return n
}
