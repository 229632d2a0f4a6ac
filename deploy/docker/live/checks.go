package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// confined holds what Docker says of the containers against what the file promises.
func (t *trial) confined(ctx context.Context) error {
	ids, err := t.containers(ctx, "")
	if err != nil {
		return err
	}
	all, err := t.inspect(ctx, ids...)
	if err != nil {
		return err
	}
	var faults []error
	for _, c := range all {
		faults = append(faults, t.confinement(ctx, &c)...)
	}
	t.say("  %d containers looked at", len(all))
	return errors.Join(faults...)
}

// secret is the shape of an nkey's seed, and the head of a private key.
var secret = regexp.MustCompile(`\bS[UAO][A-Z2-7]{56}\b|PRIVATE KEY`)

func (t *trial) confinement(ctx context.Context, c *container) (faults []error) {
	expect := func(ok bool, what string) {
		if !ok {
			faults = append(faults, fmt.Errorf("%s: %s", c.Name, what))
		}
	}
	h := c.HostConfig
	expect(h.ReadonlyRootfs && !h.Privileged, "its root file system can be written to")
	expect(slices.Contains(h.CapDrop, "ALL") && len(h.CapAdd) == 0, "it has capabilities")
	expect(slices.Contains(h.SecurityOpt, "no-new-privileges:true"), "it may gain privileges")
	expect(h.Memory > 0 && h.NanoCpus > 0 && h.PidsLimit > 0, "it has no limits")
	expect(!c.State.OOMKilled, "it was killed for its memory")
	expect(!secret.MatchString(strings.Join(c.Config.Env, "\n")), "a variable holds a secret")
	for port, bindings := range h.PortBindings {
		for _, b := range bindings {
			expect(b.HostIP == "127.0.0.1", "it publishes "+port+" on "+b.HostIP)
		}
	}
	if c.State.Status == "running" {
		users, err := t.docker.docker(ctx, "top", c.ID, "-eo", "uid,pid")
		lines := strings.Split(users, "\n")
		expect(err == nil && len(lines) > 1, "its processes are not seen")
		for _, line := range lines[1:] {
			expect(!strings.HasPrefix(strings.TrimSpace(line), "0 "), "a process of it is root's")
		}
	}
	return faults
}

// get asks a published port.
func (t *trial) get(ctx context.Context, service, path string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.ports[service]+path, nil)
	if err != nil {
		return 0, nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return resp.StatusCode, body, err
}

// private asks the public port for what is on the admin port alone.
func (t *trial) private(ctx context.Context) error {
	for path, want := range map[string]int{"/healthz": 200, "/openapi.json": 200, "/metrics": 404, "/readyz": 404, "/debug/pprof/": 404} {
		status, _, err := t.get(ctx, "proxy", path)
		if err == nil && status != want {
			err = fmt.Errorf("%s: status %d, want %d", path, status, want)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prometheus asks for something and decodes it.
func (t *trial) prometheus(ctx context.Context, path string, into any) error {
	status, body, err := t.get(ctx, "prometheus", path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.200s", path, status, body)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// vector is the value of each series of a query's answer.
func (t *trial) vector(ctx context.Context, query string) (values []float64, err error) {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := t.prometheus(ctx, "/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
		return nil, err
	}
	for _, series := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(series.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// sees waits until Prometheus scrapes so many of each, and no other; the proxy and itself once.
func (t *trial) sees(ctx context.Context, ingresses, workers int) error {
	want := map[string]int{"ingress": ingresses, "worker": workers, "proxy": 1, "prometheus": 1}
	return t.await(ctx, func(ctx context.Context) (string, error) {
		var answer struct {
			Data struct {
				ActiveTargets []struct {
					Labels            map[string]string
					Health, LastError string
				}
			}
		}
		if err := t.prometheus(ctx, "/api/v1/targets?state=active", &answer); err != nil {
			return err.Error(), nil
		}
		up := map[string]int{}
		for _, target := range answer.Data.ActiveTargets {
			if target.Health != "up" {
				return fmt.Sprintf("%s is %s: %s", target.Labels["instance"], target.Health, target.LastError), nil
			}
			up[target.Labels["job"]]++
		}
		if fmt.Sprint(up) != fmt.Sprint(want) {
			return fmt.Sprintf("Prometheus scrapes %v, want %v", up, want), nil
		}
		return "", nil
	})
}

// shares waits until the workers own all partitions between them, each at least one.
func (t *trial) shares(ctx context.Context, workers int) error {
	return t.await(ctx, func(ctx context.Context) (string, error) {
		owned, err := t.vector(ctx, "triggerd_worker_owned_partitions > 0")
		if err != nil {
			return err.Error(), nil
		}
		sum := 0.0
		for _, n := range owned {
			sum += n
		}
		if len(owned) != workers || sum != partitions {
			return fmt.Sprintf("%d workers own %g partitions, want %d and %d", len(owned), sum, workers, partitions), nil
		}
		return "", nil
	})
}

// rules waits until Prometheus has evaluated what it was given.
func (t *trial) rules(ctx context.Context) error {
	return t.await(ctx, func(ctx context.Context) (string, error) {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		if err := t.prometheus(ctx, "/api/v1/rules", &answer); err != nil {
			return err.Error(), nil
		}
		n := 0
		for _, group := range answer.Data.Groups {
			for _, rule := range group.Rules {
				if n++; rule.Health != "ok" {
					return fmt.Sprintf("rule %s is %s: %s", rule.Name, rule.Health, rule.LastError), nil
				}
			}
		}
		if n == 0 {
			return "Prometheus has no rules", nil
		}
		return "", nil
	})
}
