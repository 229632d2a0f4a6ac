package grafana

import "strings"

// model is the panel as Grafana has it, but for its place.
func (p *panel) model() object {
	m := object{
		"type": string(p.kind), "title": p.title, "description": p.says, "datasource": datasource(),
		"targets": p.targets(), "options": p.options(),
		"fieldConfig": object{"defaults": p.defaults(), "overrides": []any{}},
	}
	if links := p.links(); len(links) > 0 {
		m["links"] = links
	}
	if p.kind == table { // labels are the columns; when and how much says nothing here
		m["transformations"] = []object{{"id": "organize", "options": object{"excludeByName": object{"Time": true, "Value": true}, "indexByName": object{}, "renameByName": object{}}}}
	}
	return m
}

// links lead to what to type: a section for each alert, and the one for what is done on purpose.
func (p *panel) links() []object {
	var out []object
	link := func(title, section string) {
		out = append(out, linkTo("Runbook: "+title, runbook+"#"+section))
	}
	for _, heading := range p.alerts {
		link(heading, anchor(heading))
	}
	if p.section != "" {
		link(strings.ReplaceAll(p.section, "-", " "), p.section)
	}
	return out
}

// linkTo has every field that Grafana's schema has for a link, used or not.
func linkTo(title, url string) object {
	return object{"type": "link", "title": title, "url": url, "icon": "doc", "tooltip": "", "tags": []string{}, "targetBlank": true,
		"asDropdown": false, "includeVars": false, "keepTime": false}
}

// anchor is what a link to a heading ends with.
func anchor(heading string) string { return strings.ReplaceAll(strings.ToLower(heading), " ", "-") }

func (p *panel) targets() []object {
	var out []object
	for i, q := range p.queries {
		t := object{
			"refId": string(rune('A' + i)), "datasource": datasource(), "editorMode": "code", "expr": q.expr, "legendFormat": q.legend,
			"range": p.kind != table, "instant": p.kind == table,
		}
		if p.kind == table {
			t["format"] = "table"
		}
		out = append(out, t)
	}
	return out
}

// defaults are what holds for all series of the panel: the unit, and where it turns yellow and red.
func (p *panel) defaults() object {
	d := object{"unit": p.unit, "min": 0, "thresholds": object{"mode": "absolute", "steps": p.steps()}}
	if p.max != 0 {
		d["max"] = p.max
	}
	if p.none != "" {
		d["noValue"] = p.none
	}
	switch p.kind {
	case graph:
		d["color"], d["custom"] = object{"mode": "palette-classic"}, p.lines()
	case states:
		d["color"], d["custom"] = object{"mode": "thresholds"}, object{"fillOpacity": 80, "lineWidth": 0}
		d["mappings"] = []object{{"type": "value", "options": object{
			"0": object{"index": 0, "text": "not served", "color": "red"},
			"1": object{"index": 1, "text": "served", "color": "green"},
		}}}
	default:
		d["color"] = object{"mode": "thresholds"}
		// A share of nothing is none.
		d["mappings"] = []object{{"type": "special", "options": object{"match": "nan", "result": object{"index": 0, "text": "no traffic", "color": "text"}}}}
	}
	return d
}

// steps are the colours, from the lowest value up.
func (p *panel) steps() []object {
	colours, values := []string{"green"}, []any{nil}
	add := func(colour string, from float64) {
		if from == 0 {
			return
		}
		if p.low { // what was the colour up to here is that from here on
			last := len(colours) - 1
			colours, values = append(colours[:last], colour, colours[last]), append(values, from)
			return
		}
		colours, values = append(colours, colour), append(values, from)
	}
	if p.low {
		add("red", p.bad)
		add("yellow", p.warn)
	} else {
		add("yellow", p.warn)
		add("red", p.bad)
	}
	var out []object
	for i, c := range colours {
		out = append(out, object{"color": c, "value": values[i]})
	}
	return out
}

// lines are drawn thin, with gaps where nothing was said, and with the bounds across.
func (p *panel) lines() object {
	style := "off"
	if p.warn != 0 || p.bad != 0 {
		style = "dashed"
	}
	return object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "thresholdsStyle": object{"mode": style}}
}

func (p *panel) options() object {
	switch p.kind {
	case number:
		return object{"colorMode": "background", "graphMode": "area", "justifyMode": "auto", "textMode": "auto", "orientation": "auto", "wideLayout": true,
			"showPercentChange": false, "percentChangeColorMode": "standard",
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}}
	case table:
		return object{"frameIndex": 0, "showHeader": true, "cellHeight": "sm"}
	case states:
		return object{"mergeValues": true, "showValue": "never", "rowHeight": 0.9, "legend": legend(false), "tooltip": object{"mode": "single", "sort": "none"}}
	}
	return object{"legend": legend(true), "tooltip": object{"mode": "multi", "sort": "desc"}}
}

func legend(show bool) object {
	return object{"displayMode": "list", "placement": "bottom", "showLegend": show, "calcs": []any{}}
}
