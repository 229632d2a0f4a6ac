package telemetry

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"os"
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
	mux.Handle("GET /livez", livez(health))
	mux.Handle("GET /readyz", readyz(health))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", commandName)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	for pattern, page := range pages {
		mux.Handle(pattern, page)
	}
	return mux
}

// livez answers 200 unless a loop of this process hangs. It asks nobody.
func livez(health *lifecycle.Health) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if hung := health.Hung(); len(hung) > 0 {
			answer(w, http.StatusServiceUnavailable, "hangs: "+DescribeStalls(hung)+"\n")
			return
		}
		answer(w, http.StatusOK, "ok\n")
	})
}

// DescribeStalls tells a person which loops do not turn.
func DescribeStalls(stalls []lifecycle.Stall) string {
	var texts []string
	for _, s := range stalls {
		texts = append(texts, fmt.Sprintf("%s has not turned for %s", s.Loop, s.Held))
	}
	return strings.Join(texts, "; ")
}

// commandName leaves out the arguments, which may hold secrets.
func commandName(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, os.Args[0]) }

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
