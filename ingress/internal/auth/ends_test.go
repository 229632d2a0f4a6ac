package auth

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// endsOf is what the metric shows.
func endsOf(t *testing.T, g *Gate) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(g.metrics.ends)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			got[m.Label[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	return got
}

// What has an end is shown with it, and what has none is not: a 0 would be an alert for ever.
func TestEnds(t *testing.T) {
	i := newIssuer()
	s := newKeyServer(t)
	s.serves("", i.keys()[0])
	g, _, _ := s.gate(t)
	if got, want := endsOf(t, g)[endOfServer], float64(s.Certificate().NotAfter.Unix()); got != want {
		t.Errorf("server's certificate ends at %g, want %g", got, want)
	}

	path := filepath.Join(t.TempDir(), "jwks.json")
	with := func(ends string) {
		secret := b64(make([]byte, minHMAC))
		writeFile(t, path, fmt.Appendf(nil, `{"keys":[{"kty":"oct","kid":"a","k":%q%s},{"kty":"oct","kid":"b","k":%q,"exp":1900000000}]}`, secret, ends, secret))
	}
	with(`,"exp":1800000000`)
	g, err := New(Config{KeysFile: path})
	if err != nil {
		t.Fatal(err)
	}
	if got := endsOf(t, g); len(got) != 1 || got[endOfKey] != 1800000000 {
		t.Errorf("ends are %v, want that of the key that ends first", got)
	}
	with(`,"exp":"soon"`) // of no meaning here, and no reason to refuse the set
	g.reload(t.Context())
	if got := endsOf(t, g); got[endOfKey] != 1900000000 {
		t.Errorf("ends are %v, want that of the other key", got)
	}
	writeFile(t, path, keySet(i.keys()[0]))
	g.reload(t.Context())
	if got := endsOf(t, g); len(got) != 0 {
		t.Errorf("ends are %v, want none", got)
	}
}
