package auth

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
)

// keyServer is an issuer's server, with what it says next.
type keyServer struct {
	*httptest.Server
	ca       string        // file
	patience time.Duration // of gates

	mu     sync.Mutex
	answer http.HandlerFunc
	asked  []http.Header
}

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	s := &keyServer{patience: natstest.Patience, ca: filepath.Join(t.TempDir(), "ca.pem")}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Header.Clone())
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of clients that do not trust it
	s.StartTLS()
	t.Cleanup(s.Close)
	writeFile(t, s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return s
}

func (s *keyServer) says(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// serves says a key set, with an ETag unless that is empty.
func (s *keyServer) serves(etag string, keys ...jwk) {
	s.says(func(w http.ResponseWriter, r *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		_, _ = w.Write(keySet(keys...))
	})
}

func (s *keyServer) requests() []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *keyServer) gate(t *testing.T) (*Gate, *clock, *bytes.Buffer) {
	t.Helper()
	c, log := &clock{now: start}, &bytes.Buffer{}
	g, err := New(Config{KeysURL: s.URL + "/jwks.json?secret=hunter2", KeysCA: s.ca, Now: c.Now, URLTimeout: s.patience,
		Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return g, c, log
}

// TestKeysFromAServer shows the life of keys that a server publishes: they come, change and go with what it says, once it is asked again.
func TestKeysFromAServer(t *testing.T) {
	i := newIssuer()
	s := newKeyServer(t)
	s.serves(`"1"`, i.keys()[0])
	g, _, _ := s.gate(t)
	token := "JWT " + rawToken(i, goodHeader, goodClaims(""))
	verified := func() float64 { return testutil.ToFloat64(g.metrics.verified) }
	passes := func(want bool, when string) {
		t.Helper()
		if _, err := g.Verify(token); (err == nil) != want {
			t.Errorf("%s: %v", when, err)
		}
	}
	passes(true, "at first")
	g.reload(t.Context())
	if asked := s.requests(); len(asked) != 2 || asked[0].Get("If-None-Match") != "" || asked[1].Get("If-None-Match") != `"1"` {
		t.Errorf("asked with %v", asked)
	}
	passes(true, "not modified")
	s.serves("", i.keys()[0]) // the same again, without saying so
	g.reload(t.Context())
	passes(true, "the same again")
	if n := verified(); n != 1 {
		t.Errorf("verified %v times, although nothing changed", n)
	}
	s.serves(`"2"`, i.keys()[0], i.keys()[1])
	g.reload(t.Context())
	passes(true, "with another key beside it")
	s.serves(`"3"`, i.keys()[1])
	passes(true, "before it is asked again")
	g.reload(t.Context())
	passes(false, "its key is gone")
}

// TestBadAnswers shows that whatever a server says instead of keys takes none away, and is said without what is secret.
func TestBadAnswers(t *testing.T) {
	i := newIssuer()
	s := newKeyServer(t)
	elsewhere := newKeyServer(t)
	elsewhere.serves("", i.keys()[3])
	hang := make(chan struct{})
	for name, answer := range map[string]http.HandlerFunc{
		"500":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); _, _ = w.Write(keySet(i.keys()[3])) },
		"204":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"a page":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>log in, hunter2</html>") },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"a weak key": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(keySet(jwk{"kty": "oct", "k": "aHVudGVyMg"}))
		},
		"1 MiB and 1": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append(keySet(i.keys()[3]), bytes.Repeat([]byte(" "), maxKeysDocument)...))
		},
		"endless": func(w http.ResponseWriter, r *http.Request) { endless(w, r, []byte(" ")) },
		"huge header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			_, _ = w.Write(keySet(i.keys()[3]))
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			fmt.Fprint(w, `{"keys":[`)
		},
		"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silence": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
		"half": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"to http": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusMovedPermanently)
		},
		"to a file": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusSeeOther)
		},
		"a lie": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) }, // the first has no ETag
	} {
		t.Run(name, func(t *testing.T) {
			s.serves("", i.keys()[0])
			s.patience = natstest.Patience
			if name == "silence" || name == "half" {
				s.patience = 200 * time.Millisecond
			}
			g, c, log := s.gate(t)
			token := "JWT " + rawToken(i, goodHeader, goodClaims(""))
			s.says(answer)
			for range 3 {
				c.Advance(time.Minute)
				g.reload(t.Context())
				if _, err := g.Verify(token); err != nil {
					t.Error(err)
				}
			}
			detail, err := g.Ready()
			if err != nil || !strings.HasPrefix(detail, "1 keys in force, found to be the newest 3m0s ago, and the last good ones since: ") {
				t.Errorf("ready: %q, %v", detail, err)
			}
			if n := strings.Count(log.String(), "keys not reloaded"); n != 1 || testutil.ToFloat64(g.metrics.broken) != 1 {
				t.Errorf("said %d times: %s", n, log)
			}
			if said := log.String() + detail; strings.Contains(said, "hunter2") || strings.Contains(said, "aHVudGVyMg") {
				t.Errorf("a secret is said: %s", said)
			}
			s.serves("", i.keys()[0], i.keys()[3])
			g.reload(t.Context())
			if detail, _ := g.Ready(); !strings.HasPrefix(detail, "2 keys in force, found to be the newest 0s ago") || strings.Contains(detail, "since") {
				t.Errorf("after it: %q", detail)
			}
		})
	}
	if n := len(elsewhere.requests()); n > 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

// endless writes until nobody reads any more.
func endless(w http.ResponseWriter, r *http.Request, data []byte) {
	data = bytes.Repeat(data, 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(data); err != nil {
			return
		}
	}
}

// TestBrokenDocumentStaysBroken shows that a server which says that nothing has changed is not taken for one that is good again.
func TestBrokenDocumentStaysBroken(t *testing.T) {
	i := newIssuer()
	s := newKeyServer(t)
	s.serves(`"1"`, i.keys()[0])
	g, _, _ := s.gate(t)
	s.serves(`"2"`, jwk{"kty": "oct", "k": "AAAA"})
	for range 2 {
		g.reload(t.Context())
		if detail, _ := g.Ready(); !strings.Contains(detail, "want k of 32 bytes") {
			t.Errorf("%q", detail)
		}
	}
	if last := s.requests(); last[len(last)-1].Get("If-None-Match") != `"2"` {
		t.Error("a document that is known to be bad is fetched again")
	}
	s.says(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	g.reload(t.Context())
	s.serves(`"1"`, i.keys()[0])
	g.reload(t.Context())
	if detail, _ := g.Ready(); strings.Contains(detail, "since") {
		t.Errorf("after it: %q", detail)
	}
}

// TestLongETagIsNotSentBack: what a server says does not become what is sent to it without bounds.
func TestLongETagIsNotSentBack(t *testing.T) {
	i := newIssuer()
	s := newKeyServer(t)
	s.serves(`"`+strings.Repeat("x", maxETag)+`"`, i.keys()[0])
	g, _, _ := s.gate(t)
	g.reload(t.Context())
	if asked := s.requests(); len(asked) != 2 || asked[1].Get("If-None-Match") != "" {
		t.Errorf("asked with %v", asked)
	}
}

// TestServerMustBeTrusted shows that a server counts only with a certificate that is asked for, and that there is no gate without keys.
func TestServerMustBeTrusted(t *testing.T) {
	s := newKeyServer(t)
	s.serves("", newIssuer().keys()...)
	if _, err := New(Config{KeysURL: s.URL}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its authority: %v", err)
	}
	if _, err := New(Config{KeysURL: strings.Replace(s.URL, "127.0.0.1", "localhost", 1), KeysCA: s.ca}); err == nil {
		t.Error("taken under another name")
	}
	s.says(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) })
	if _, err := New(Config{KeysURL: s.URL, KeysCA: s.ca}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a gate without keys: %v", err)
	}
}

func TestWhereKeysMayComeFrom(t *testing.T) {
	dir := t.TempDir()
	noCertificate := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(noCertificate, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"neither":              {},
		"both":                 {KeysFile: "x", KeysURL: "https://id.example/"},
		"http":                 {KeysURL: "http://id.example/jwks.json"},
		"http, looks local":    {KeysURL: "http://127.0.0.1.id.example/"},
		"http, a local user":   {KeysURL: "http://localhost@id.example/"},
		"file":                 {KeysURL: "file:///etc/jwks.json"},
		"no scheme":            {KeysURL: "id.example/jwks.json"},
		"no host":              {KeysURL: "https:///jwks.json"},
		"a user":               {KeysURL: "https://u:p@id.example/"},
		"no url":               {KeysURL: "https://id.example/%zz"},
		"authority, no url":    {KeysFile: "x", KeysCA: noCertificate},
		"authority missing":    {KeysURL: "https://id.example/", KeysCA: noCertificate + "x"},
		"authority is none":    {KeysURL: "https://id.example/", KeysCA: noCertificate},
		"too often":            {KeysURL: "https://id.example/", Every: time.Millisecond},
		"negative":             {KeysFile: "x", Every: -1},
		"negative time to ask": {KeysURL: "https://id.example/", URLTimeout: -1},
	} {
		if err := cfg.Validate(); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: there is a gate", name)
		}
	}
	for _, cfg := range []Config{
		{KeysFile: "x"}, {KeysURL: "https://id.example/jwks.json?x=1"}, {KeysURL: "http://127.0.0.1:8081/"}, {KeysURL: "http://[::1]/"}, {KeysURL: "http://localhost/"},
	} {
		if err := cfg.Validate(); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestSecretsFromAServerAreSaid: whoever may fetch such a key may issue tokens.
func TestSecretsFromAServerAreSaid(t *testing.T) {
	s := newKeyServer(t)
	s.serves("", newIssuer().keys()[3])
	if _, _, log := s.gate(t); !strings.Contains(log.String(), "whoever can fetch it can issue tokens") {
		t.Errorf("log says %q", log)
	}
}

// TestStoppedReloadIsNoFailure shows that a process which is told to stop while it asks says nothing.
func TestStoppedReloadIsNoFailure(t *testing.T) {
	s := newKeyServer(t)
	s.serves("", newIssuer().keys()[0])
	g, _, log := s.gate(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.says(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	g.reload(ctx)
	if detail, _ := g.Ready(); log.Len() > 0 || strings.Contains(detail, "since") {
		t.Errorf("%q, %s", detail, log)
	}
}
