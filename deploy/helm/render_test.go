package helm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v3"
)

const chart = "triggerd"

// values are those of a chart, as YAML has them.
type values = map[string]any

// files are the chart's own, for templates.
type files struct{}

// Get is helm's .Files.Get.
func (files) Get(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(chart, name))
	return string(text), err
}

// over lays values over others, as helm does: maps are merged, everything else is replaced.
func over(base, top values) values {
	merged := maps.Clone(base)
	for key, value := range top {
		below, isMap := merged[key].(values)
		if above, ok := value.(values); ok && isMap {
			merged[key] = over(below, above)
			continue
		}
		merged[key] = value
	}
	return merged
}

func parse(t *testing.T, text string) (v values) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// functions are those of helm's that the chart uses. Whoever uses another one adds it here.
func functions(set *template.Template) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := set.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml": func(v any) (string, error) {
			var out bytes.Buffer
			e := yaml.NewEncoder(&out)
			e.SetIndent(2)
			err := errors.Join(e.Encode(v), e.Close())
			return strings.TrimSuffix(out.String(), "\n"), err
		},
		"nindent": func(n int, text string) string {
			pad := strings.Repeat(" ", n)
			return "\n" + pad + strings.ReplaceAll(text, "\n", "\n"+pad)
		},
		"quote": func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"default": func(otherwise, v any) any {
			if v == nil || v == "" {
				return otherwise
			}
			return v
		},
		"fail": func(why string) (string, error) { return "", errors.New(why) },
		"dict": func(pairs ...any) values {
			d := values{}
			for i := 0; i+1 < len(pairs); i += 2 {
				d[pairs[i].(string)] = pairs[i+1]
			}
			return d
		},
		"list":    func(all ...any) []any { return all },
		"hasKey":  func(m values, key string) bool { _, ok := m[key]; return ok },
		"upper":   strings.ToUpper,
		"replace": func(from, to, text string) string { return strings.ReplaceAll(text, from, to) },
		"int":     func(v any) int { return v.(int) },
		"add": func(all ...int) (sum int) {
			for _, n := range all {
				sum += n
			}
			return sum
		},
	}
}

// object is one of what is rendered.
type object map[string]any

func (o object) id() string {
	return fmt.Sprintf("%s %s", o["kind"], o.at("metadata", "name"))
}

// at is what lies there; nil: nothing. A number is a place in a list.
func (o object) at(path ...any) any {
	var v any = values(o)
	for _, step := range path {
		switch at := v.(type) {
		case values:
			v = at[fmt.Sprint(step)]
		case []any:
			if i, ok := step.(int); !ok || i >= len(at) {
				return nil
			}
			v = at[step.(int)]
		default:
			return nil
		}
	}
	return v
}

// render is `helm template triggerd triggerd --namespace triggers` with top over the chart's values.
func render(t *testing.T, top string) ([]object, error) {
	t.Helper()
	v := over(parse(t, read(t, filepath.Join(chart, "values.yaml"))), parse(t, top))
	if err := judge(t, v); err != nil {
		return nil, err
	}
	set := template.New("chart").Option("missingkey=error")
	set.Funcs(functions(set))
	names, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	if err != nil || len(names) < 5 {
		t.Fatalf("templates are %v, %v", names, err)
	}
	for _, name := range names {
		if _, err := set.New(filepath.Base(name)).Parse(read(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	about := parse(t, read(t, filepath.Join(chart, "Chart.yaml")))
	data := values{"Values": v, "Files": files{}, "Chart": values{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": values{"Name": "triggerd", "Namespace": "triggers", "Service": "Helm"}}
	var all []object
	for _, name := range names {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		var out bytes.Buffer
		if err := set.ExecuteTemplate(&out, filepath.Base(name), data); err != nil {
			return nil, err
		}
		objects, err := split(out.Bytes())
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		}
		all = append(all, objects...)
	}
	slices.SortFunc(all, func(a, b object) int { return strings.Compare(a.id(), b.id()) })
	return all, nil
}

// split takes a stream of documents apart.
func split(text []byte) (all []object, _ error) {
	for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o values
		switch err := documents.Decode(&o); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		case len(o) > 0:
			all = append(all, object(o))
		}
	}
}

// mustRender is render of values that are right.
func mustRender(t *testing.T, top string) map[string]object {
	t.Helper()
	all, err := render(t, top)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]object{}
	for _, o := range all {
		if byID[o.id()] != nil {
			t.Errorf("there are two of %s", o.id())
		}
		byID[o.id()] = o
	}
	return byID
}
