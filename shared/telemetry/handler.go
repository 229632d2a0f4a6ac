package telemetry

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/triggerd/triggerd/shared/lifecycle"
)

// AdminHandler serves /metrics, /livez, /readyz (?verbose), /debug/pprof/, and what pages adds: by pattern, as http.ServeMux takes
// it. Patterns must not repeat those above.
func AdminHandler(reg *prometheus.Registry, health *lifecycle.Health, pages map[string]http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg, EnableOpenMetrics: true}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	mux.Handle("GET /readyz", readyz(health))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	for pattern, page := range pages {
		mux.Handle(pattern, page)
	}
	return mux
}

// readyz answers 200 if every check passes, else 503; with ?verbose, a line for each check.
func readyz(health *lifecycle.Health) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		statuses, ready := health.Statuses()
		var text strings.Builder
		if r.URL.Query().Has("verbose") {
			describe(&text, statuses)
		}
		if !ready {
			text.WriteString("not ready\n")
			answer(w, http.StatusServiceUnavailable, text.String())
			return
		}
		text.WriteString("ok\n")
		answer(w, http.StatusOK, text.String())
	})
}

func describe(w io.Writer, statuses []lifecycle.Status) {
	for _, s := range statuses {
		mark, detail := "[+]", s.Detail
		if s.Err != nil {
			mark, detail = "[-]", strings.TrimPrefix(detail+": "+s.Err.Error(), ": ")
		}
		fmt.Fprintf(w, "%s%s: %s\n", mark, s.Name, detail)
	}
}

// answer must not be cached: a load balancer's proxy may be asked for it.
func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	io.WriteString(w, text)
}
