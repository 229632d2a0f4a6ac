package worker

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/triggerd/triggerd/worker/internal/partition"
)

// AdminPages are the worker's pages on the admin port, by path.
//
// /partitions lists the partitions as JSON. With ?digest=1 each says a digest of its whole state and the position that it
// reflects: partitions at equal positions of equal logs have equal digests.
func (w *Worker) AdminPages() map[string]http.Handler {
	return map[string]http.Handler{"/partitions": http.HandlerFunc(w.servePartitions)}
}

func (w *Worker) servePartitions(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		rw.Header().Set("Allow", "GET, HEAD")
		http.Error(rw, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	digest := r.URL.Query().Get("digest") == "1"
	list := []partition.Status{}
	for _, h := range w.all() {
		s := h.Status()
		if digest {
			addDigest(r, h.Partition, &s)
		}
		list = append(list, s)
	}
	rw.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(rw)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"partitions": list}); err != nil {
		w.deps.Logger.Debug("partitions were not shown", "cause", err)
	}
}

func addDigest(r *http.Request, p *partition.Partition, s *partition.Status) {
	digest, applied, err := p.Digest(r.Context())
	if err != nil {
		s.Cause = err.Error()
		return
	}
	s.Digest, s.DigestSeq = fmt.Sprintf("%016x", digest), applied
}
