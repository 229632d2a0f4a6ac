package grafana

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
)

// dashboard is a page of panels, laid out in their order in rows of 24 columns.
type dashboard struct {
	name    string // of the file; triggerd-<name> is the uid, which links and bookmarks use, so it never changes
	title   string
	refresh string
	filters []filter // beside the data source
	panels  []panel
}

// filter is a variable of the dashboard: values of a label, of which all are shown unless somebody chooses. There is none for the job or the deployment: like the rules
// of deploy/prometheus, the dashboards are for a Prometheus that sees one deployment.
type filter struct{ label, of string } // of: a metric that has the label

var (
	byInstance  = filter{"instance", "triggerd_build_info"}
	byPartition = filter{"partition", "triggerd:partitions:known"}
)

// kind is how a panel shows what it is told.
type kind string

const (
	number kind = "stat"           // the last value, large, coloured by the bounds
	graph  kind = "timeseries"     // lines over time, with the bounds
	states kind = "state-timeline" // a bar for each series that is 1 or not
	table  kind = "table"          // a row for each series
)

// panel is one picture. Its bounds are those of its alerts, which the tests compare: what is red here is what somebody is woken for.
type panel struct {
	title   string
	says    string // what it shows, and what is bad
	kind    kind
	w, h    int
	unit    string // one of Grafana's
	queries []query
	warn    float64  // yellow beyond; 0 = nowhere
	bad     float64  // red beyond; 0 = nowhere
	low     bool     // beyond is below
	max     float64  // of the axis; 0 = what comes
	alerts  []string // headings of the runbook: the alerts of deploy/prometheus that are about this, those of one section joined with and
	section string   // of the runbook beside those: the anchor of a heading
	none    string   // what is shown where there is nothing
}

// query is what Prometheus is asked.
type query struct{ expr, legend string }

const (
	// source is the data source of every query: the one that is chosen at the top of the dashboard, at first that of provisioning/.
	source = "${datasource}"
	// runbook is where the links lead.
	runbook = "https://github.com/triggerd/triggerd/blob/main/deploy/RUNBOOK.md"
	// schema is that of Grafana 11; later ones read it and bring it up to theirs.
	schema  = 39
	columns = 24
)

// object is one of JSON, which sorts its names when it is written: the same panels are the same bytes.
type object = map[string]any

// Write writes the dashboards to a directory.
func Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range dashboards {
		data, err := dashboards[i].encode()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, dashboards[i].file()), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (d *dashboard) file() string { return d.name + ".json" }

// encode makes the file.
func (d *dashboard) encode() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // queries compare
	e.SetIndent("", " ")
	err := e.Encode(d.model())
	return out.Bytes(), err
}

// model is the dashboard as Grafana has it.
func (d *dashboard) model() object {
	return object{
		"uid": "triggerd-" + d.name, "title": d.title, "tags": []string{"triggerd"}, "schemaVersion": schema, "version": 1,
		"timezone": "browser", "time": object{"from": "now-1h", "to": "now"}, "refresh": d.refresh,
		"editable": false, // it is made from code: what is changed by hand is lost
		// The same moment is marked in all panels.
		"graphTooltip": 1, "annotations": object{"list": []any{}},
		"links": []object{
			{"type": "dashboards", "title": "triggerd", "icon": "external link", "tooltip": "", "tags": []string{"triggerd"}, "targetBlank": false,
				"asDropdown": false, "includeVars": true, "keepTime": true},
			linkTo("Runbook", runbook),
		},
		"templating": object{"list": d.variables()},
		"panels":     d.layOut(),
	}
}

func (d *dashboard) variables() []object {
	list := []object{{
		"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1,
		"current": object{"text": "Prometheus", "value": "prometheus"}, "options": []any{}, "hide": 0, "includeAll": false, "multi": false, "regex": "",
	}}
	for _, f := range d.filters {
		ask := "label_values(" + f.of + ", " + f.label + ")"
		list = append(list, object{
			"name": f.label, "label": f.label, "type": "query", "datasource": datasource(), "definition": ask, "query": object{"query": ask, "refId": f.label},
			"refresh": 2, "sort": 3, "multi": true, "includeAll": true, "allValue": ".+", "hide": 0, "options": []any{}, "regex": "",
			"current": object{"text": []string{"All"}, "value": []string{"$__all"}},
		})
	}
	return list
}

func datasource() object { return object{"type": "prometheus", "uid": source} }

// layOut puts the panels side by side, from the left, and below when a row is full.
func (d *dashboard) layOut() []object {
	var out []object
	x, y, high := 0, 0, 0
	for i := range d.panels {
		p := &d.panels[i]
		if x+p.w > columns {
			x, y, high = 0, y+high, 0
		}
		model := p.model()
		model["id"], model["gridPos"] = i+1, object{"x": x, "y": y, "w": p.w, "h": p.h}
		out = append(out, model)
		x, high = x+p.w, max(high, p.h)
	}
	return out
}
