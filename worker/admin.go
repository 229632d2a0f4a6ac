package worker

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/triggerd/triggerd/worker/internal/membership"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

// AdminPages are the worker's pages on the admin port, by path.
//
// /partitions lists the partitions as JSON. With ?digest=1 each says a digest of its whole state and the position that it
// reflects: partitions at equal positions of equal logs have equal digests. Listed are those that are here: the worker's own, those that it has not
// handed over yet, those that have halted, and those that are paused, wherever they would be.
//
// /members lists the workers by id, as this one knows them, and the owner of each partition.
func (w *Worker) AdminPages() map[string]http.Handler {
	return map[string]http.Handler{"/partitions": readOnly(w.servePartitions), "/members": readOnly(w.serveMembers)}
}

func readOnly(serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			rw.Header().Set("Allow", "GET, HEAD")
			http.Error(rw, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		serve(rw, r)
	})
}

func (w *Worker) serveMembers(rw http.ResponseWriter, _ *http.Request) {
	members := map[string]membership.Member{}
	if m := w.members.Load(); m != nil {
		for _, member := range m.View().Members {
			members[member.ID] = member
		}
	}
	w.mu.Lock()
	owners, standbys := w.owners, w.standbys
	w.mu.Unlock()
	w.write(rw, map[string]any{"worker": w.id(), "members": members, "owners": owners, "standbys": standbys})
}

func (w *Worker) servePartitions(rw http.ResponseWriter, r *http.Request) {
	digest := r.URL.Query().Get("digest") == "1"
	list := []partition.Status{}
	for _, h := range w.all() {
		s := h.Status()
		if digest {
			addDigest(r, h.Partition, &s)
		}
		list = append(list, s)
	}
	w.write(rw, map[string]any{"partitions": w.withPaused(list)})
}

func (w *Worker) write(rw http.ResponseWriter, page map[string]any) {
	rw.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(rw)
	enc.SetIndent("", "  ")
	if err := enc.Encode(page); err != nil {
		w.deps.Logger.Debug("page was not shown", "cause", err)
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
