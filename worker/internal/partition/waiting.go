package partition

import "container/heap"

// seqHeap orders questions by the sequence that they wait for.
type seqHeap []seqWait

type seqWait struct {
	seq uint64
	q   *question
}

func (h seqHeap) Len() int           { return len(h) }
func (h seqHeap) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h seqHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *seqHeap) Push(x any) { *h = append(*h, x.(seqWait)) }

// Pop implements heap.Interface.
func (h *seqHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = seqWait{}
	*h = (*h)[:last]
	return w
}

func (h *seqHeap) add(seq uint64, q *question) { heap.Push(h, seqWait{seq, q}) }

// next takes out a question that waits for applied or less.
func (h *seqHeap) next(applied uint64) (*question, bool) {
	if len(*h) == 0 || (*h)[0].seq > applied {
		return nil, false
	}
	return heap.Pop(h).(seqWait).q, true
}

// sweep forgets what was answered already.
func (h *seqHeap) sweep() {
	kept := (*h)[:0]
	for _, w := range *h {
		if !w.q.answered {
			kept = append(kept, w)
		}
	}
	clear((*h)[len(kept):])
	*h = kept
	heap.Init(h)
}
