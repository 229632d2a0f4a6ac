package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/content"
	"github.com/pb33f/libopenapi-validator/errors"
)

var contract = sync.OnceValues(func() (validator.Validator, []error) {
	doc, err := libopenapi.NewDocument(document)
	if err != nil {
		return nil, []error{err}
	}
	return validator.NewValidator(doc, config.WithBodyDecoder("application/x-ndjson", content.DecoderFunc(lines)))
})

// lines reads a body of lines as the string that the document says it is.
func lines(in *content.DecodeInput) (any, error) {
	data, err := io.ReadAll(in.Body)
	return string(data), err
}

// checkContract holds an answer to the document, and a request too if it was taken.
func checkContract(t testing.TB, r *http.Request, body string, a answer) {
	t.Helper()
	v, errs := contract()
	if errs != nil {
		t.Fatal(errs)
	}
	if !inContract(r, a) {
		return
	}
	if a.status < 300 {
		again := r.Clone(t.Context())
		again.Body = io.NopCloser(strings.NewReader(body))
		ok, faults := v.ValidateHttpRequest(again)
		report(t, ok, faults, "request", body)
	}
	ok, faults := v.ValidateHttpResponse(r, &http.Response{
		StatusCode: a.status, Header: a.header, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	})
	report(t, ok, faults, "answer", a.body)
}

// inContract reports whether the document speaks of such an exchange: not of methods that it does not list, nor of
// paths.
func inContract(r *http.Request, a answer) bool {
	switch {
	case a.status == http.StatusMethodNotAllowed, r.Method == http.MethodOptions, r.Method == http.MethodHead:
		return false
	case a.status == http.StatusNotFound && strings.Contains(a.body, `"not_found"`):
		return strings.HasPrefix(r.URL.Path, "/v1/triggers/") || strings.HasPrefix(r.URL.Path, "/v1/bots/")
	}
	return true
}

func report(t testing.TB, ok bool, faults []*errors.ValidationError, what, body string) {
	t.Helper()
	for _, f := range faults {
		t.Errorf("%s breaks the contract: %s: %s", what, f.Message, f.Reason)
		for _, s := range f.SchemaValidationErrors {
			t.Errorf("  %s at %s", s.Reason, s.KeywordLocation)
		}
	}
	if !ok {
		t.Logf("%s was %.500q", what, body)
	}
}

func TestDocumentIsValid(t *testing.T) {
	v, errs := contract()
	if errs != nil {
		t.Fatal(errs)
	}
	ok, faults := v.ValidateDocument()
	report(t, ok, faults, "document", "")
}

// TestDocumentHasTheRoutes holds routes and document to be the same set, so that neither grows alone.
func TestDocumentHasTheRoutes(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	var documented, routed []string
	for path, operations := range doc.Paths {
		for method := range operations {
			if method != "parameters" {
				documented = append(documented, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, route := range newWorld(t, nil).api.echo.Routes() {
		if route.Method != http.MethodOptions {
			routed = append(routed, route.Method+" "+templated(route.Path))
		}
	}
	slices.Sort(documented)
	slices.Sort(routed)
	if !slices.Equal(documented, routed) {
		t.Errorf("documented:\n%s\nrouted:\n%s", strings.Join(documented, "\n"), strings.Join(routed, "\n"))
	}
}

// templated spells a path with {name} instead of :name.
func templated(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// TestDocumentHasTheCodes holds the words of the failure table to be those of the document.
func TestDocumentHasTheCodes(t *testing.T) {
	var doc struct {
		Components struct {
			Schemas struct {
				Code struct {
					Enum []string `json:"enum"`
				}
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, c := range codes {
		words = append(words, c.word)
	}
	if got := doc.Components.Schemas.Code.Enum; !slices.Equal(got, words) {
		t.Errorf("document has %q, table has %q", got, words)
	}
}

func TestDocumentIsServed(t *testing.T) {
	a := newWorld(t, nil).do(http.MethodGet, "/openapi.json", "", "Authorization", "")
	a.want(t, 200, string(document))
	if a.header.Get("Content-Type") != "application/json" {
		t.Error(a.header)
	}
}
