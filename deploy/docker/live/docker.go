package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ErrNoDocker: nothing was tested.
var ErrNoDocker = errors.New("there is no Docker here, so nothing was tested")

// lookEvery is the pause between two looks at what is waited for.
const lookEvery = 500 * time.Millisecond

// docker runs commands.
type docker struct {
	dir      string
	tool     []string // for compose files
	environ  []string
	ports    map[string]string // by service, host:port
	patience time.Duration
	out      io.Writer
	begun    time.Time
}

func (d *docker) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%5.0fs  %s\n", time.Since(d.begun).Seconds(), fmt.Sprintf(format, args...))
}

// find looks for what it needs, and makes stand-ins for images that cannot be had.
func (d *docker) find(ctx context.Context) error {
	version, err := d.docker(ctx, "version", "--format", "{{.Server.Version}}")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDocker, err)
	}
	d.tool = []string{"docker", "compose"}
	tool, err := d.run(ctx, "docker", "compose", "version")
	if err != nil {
		d.tool = []string{"docker-compose"}
		if tool, err = d.run(ctx, "docker-compose", "version", "--short"); err != nil {
			return fmt.Errorf("neither docker compose nor docker-compose is here, so nothing was tested: %w", err)
		}
	}
	d.say("Docker %s, %s %s", version, strings.Join(d.tool, " "), tool)
	if err := d.publish(); err != nil {
		return err
	}
	said, err := d.run(ctx, "deploy/docker/standins/make")
	if said != "" {
		d.say("%s", said)
	}
	return err
}

// publish chooses free ports.
func (d *docker) publish() error {
	d.ports = map[string]string{}
	for variable, service := range map[string]string{"HTTP_PUBLISH": "proxy", "PROMETHEUS_PUBLISH": "prometheus", "GRAFANA_PUBLISH": "grafana"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		d.ports[service] = listener.Addr().String()
		d.environ = append(d.environ, variable+"="+d.ports[service])
		if err := listener.Close(); err != nil {
			return err
		}
	}
	return nil
}

// run returns what a command writes to stdout; its error has what it wrote to stderr.
func (d *docker) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), d.environ...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(stdout.String()+stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), err
}

// tail is the end of a text that may be long.
func tail(text string) string {
	const lines = 40
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (d *docker) docker(ctx context.Context, args ...string) (string, error) {
	return d.run(ctx, "docker", args...)
}

func (d *docker) compose(ctx context.Context, args ...string) (string, error) {
	args = append(append(slices.Clone(d.tool[1:]), "-p", Project), args...)
	return d.run(ctx, d.tool[0], args...)
}

// clean removes everything of the project.
func (d *docker) clean(ctx context.Context) error {
	left, err := d.docker(ctx, "ps", "-aq", "--filter", "label=com.docker.compose.project="+Project)
	if err != nil {
		return err
	}
	if ids := strings.Fields(left); len(ids) > 0 { // those that `run` made too
		if _, err := d.docker(ctx, append([]string{"rm", "-f", "-v"}, ids...)...); err != nil {
			return err
		}
	}
	_, err = d.compose(ctx, "down", "-v", "--rmi", "local", "--remove-orphans", "-t", "5")
	return err
}

// containers are the ids of those of a service, or of all ("").
func (d *docker) containers(ctx context.Context, service string) ([]string, error) {
	filters := []string{"ps", "-aq", "--no-trunc", "--filter", "label=com.docker.compose.project=" + Project, "--filter", "label=com.docker.compose.oneoff=False"}
	if service != "" {
		filters = append(filters, "--filter", "label=com.docker.compose.service="+service)
	}
	text, err := d.docker(ctx, filters...)
	return strings.Fields(text), err
}

// first is one container of a service.
func (d *docker) first(ctx context.Context, service string) (string, error) {
	ids, err := d.containers(ctx, service)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%s has no container", service)
	}
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// container is what Docker says of one.
type container struct {
	ID, Name string
	State    struct {
		Status    string
		ExitCode  int
		OOMKilled bool
		Health    *struct {
			Status string
			Log    []struct{ Output string }
		}
	}
	Config struct {
		User string
		Env  []string
	}
	HostConfig struct {
		ReadonlyRootfs, Privileged  bool
		CapDrop, CapAdd             []string
		SecurityOpt                 []string
		Memory, NanoCpus, PidsLimit int64
		PortBindings                map[string][]struct{ HostIP string }
	}
}

// condition is how it is, in a word.
func (c *container) condition() string {
	if c.State.Health != nil && c.State.Status == "running" {
		return c.State.Health.Status
	}
	return c.State.Status
}

func (d *docker) inspect(ctx context.Context, ids ...string) (all []container, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	text, err := d.docker(ctx, append([]string{"inspect"}, ids...)...)
	if err == nil {
		err = json.Unmarshal([]byte(text), &all)
	}
	return all, err
}

// network is the id of one of the file's.
func (d *docker) network(ctx context.Context, name string) (string, error) {
	id, err := d.docker(ctx, "network", "ls", "-q", "--filter", "label=com.docker.compose.project="+Project, "--filter", "label=com.docker.compose.network="+name)
	if err == nil && id == "" {
		err = fmt.Errorf("there is no network %s", name)
	}
	return id, err
}

// await looks until what is waited for is so. look says what is missing, "" if nothing; its error ends the waiting.
func (d *docker) await(ctx context.Context, look func(ctx context.Context) (missing string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	missing := "nothing was seen"
	for {
		now, err := look(ctx)
		if ctx.Err() == nil && err != nil {
			return err
		}
		if now == "" && err == nil {
			return nil
		}
		if now != "" {
			missing = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s: %s", d.patience, missing)
		case <-again.C:
		}
	}
}

// awaitService waits until a service has so many containers, all in a condition.
func (d *docker) awaitService(ctx context.Context, service string, n int, condition string) error {
	return d.await(ctx, func(ctx context.Context) (string, error) {
		ids, err := d.containers(ctx, service)
		if err != nil {
			return "", err
		}
		all, err := d.inspect(ctx, ids...)
		if err != nil {
			return err.Error(), nil // one may just be removed
		}
		var not []string
		for _, c := range all {
			if c.condition() != condition {
				not = append(not, c.Name+" is "+c.condition())
			}
		}
		if len(all) != n || len(not) > 0 {
			return fmt.Sprintf("%s has %d containers, want %d %s: %s", service, len(all), n, condition, strings.Join(not, ", ")), nil
		}
		return "", nil
	})
}

// showLogs writes the ends of all logs.
func (d *docker) showLogs(ctx context.Context) {
	ids, _ := d.containers(ctx, "")
	all, _ := d.inspect(ctx, ids...)
	for _, c := range all {
		text, _ := d.run(ctx, "sh", "-c", "docker logs --tail 15 "+c.ID+" 2>&1")
		health := ""
		if c.State.Health != nil && len(c.State.Health.Log) > 0 {
			health = "\nhealth check: " + c.State.Health.Log[len(c.State.Health.Log)-1].Output
		}
		fmt.Fprintf(d.out, "--- %s: %s, exit code %d%s\n%s\n", c.Name, c.condition(), c.State.ExitCode, health, text)
	}
}
