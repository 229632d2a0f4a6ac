package grafana

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// plain puts something in the place of what Grafana puts in: all instances and partitions, and an interval.
var plain = strings.NewReplacer("$__rate_interval", "1m", "$instance", ".+", "$partition", ".+").Replace

// each calls f with all queries, as Prometheus gets them.
func each(f func(d *dashboard, p *panel, expr string) error) error {
	for i := range dashboards {
		d := &dashboards[i]
		for j := range d.panels {
			for _, q := range d.panels[j].queries {
				if err := f(d, &d.panels[j], plain(q.expr)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// WriteRules writes a file of recording rules with every query in it. JSON is YAML, and quotes as YAML does.
func WriteRules(w io.Writer) error {
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	each(func(_ *dashboard, _ *panel, expr string) error {
		rules = append(rules, rule{fmt.Sprintf("dashboards:query:%d", len(rules)+1), expr})
		return nil
	})
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(object{"groups": []object{{"name": "dashboards", "rules": rules}}})
}

// Try asks a Prometheus every query over the last ten minutes, and writes a line for each: how many series came, and the last value of the first one. A query that it
// refuses is an error; one that has nothing to show is not, since there may be nothing.
func Try(w io.Writer, base string) error {
	var refused []error
	each(func(d *dashboard, p *panel, expr string) error {
		series, last, err := ask(base, expr)
		if err != nil {
			refused = append(refused, fmt.Errorf("%s, %q: %w", d.name, p.title, err))
		}
		fmt.Fprintf(w, "%-11s %-52s %3d series %12s  %s\n", d.name, p.title, series, last, strings.Join(strings.Fields(expr), " "))
		return nil
	})
	return errors.Join(refused...)
}

// ask makes a range query: the kind that Grafana's graphs make.
func ask(base, expr string) (series int, last string, err error) {
	now := time.Now()
	resp, err := http.PostForm(base+"/api/v1/query_range", url.Values{
		"query": {expr}, "step": {"5"}, "start": {stamp(now.Add(-10 * time.Minute))}, "end": {stamp(now)},
	})
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Values [][2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, "", fmt.Errorf("read answer: %w", err)
	}
	if answer.Error != "" {
		return 0, "", errors.New(answer.Error)
	}
	list := answer.Data.Result
	if len(list) > 0 && len(list[0].Values) > 0 {
		last = fmt.Sprint(list[0].Values[len(list[0].Values)-1][1])
	}
	return len(list), last, nil
}

func stamp(t time.Time) string { return fmt.Sprint(t.Unix()) }
