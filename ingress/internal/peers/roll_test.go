package peers

import "testing"

// list shows a bucket with these keys.
func (r *roll) list(ids ...string) {
	r.begin()
	for _, id := range ids {
		r.take(id, true)
	}
	r.listed()
}

func (r *roll) want(t *testing.T, n int, when string) {
	t.Helper()
	if got := r.count(); got != n {
		t.Errorf("%s: %d count, want %d", when, got, n)
	}
}

func TestRoll(t *testing.T) {
	r := newRoll("a")
	r.want(t, 1, "nothing is known")
	r.list()
	r.want(t, 1, "an empty list, before the own key is stored")
	r.list("a", "b", "c")
	r.want(t, 3, "all are there")
	r.list("a", "b")
	r.want(t, 3, "one list lacks c")
	r.list("a", "b", "c")
	r.list("a", "b")
	r.want(t, 3, "not two in a row")
	r.list("a", "b")
	r.want(t, 2, "two in a row lack c")
	r.take("b", false)
	r.want(t, 1, "b left")
	r.take("d", true)
	r.want(t, 2, "d came")
	r.list()
	r.list()
	r.want(t, 1, "everything expired")
}
