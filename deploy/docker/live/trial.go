package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// partitions is what docker-compose.yml says.
const partitions = 4

// Where the load's promises are kept, in the volume of service loadgen; and how it is run: few users would be left without one after a kill, as a trigger without a
// key that has no answer is not sent again. Most have none, so that one that somebody else sends again is found.
const ledger = "/ledgers/run.ledger"

// trial is one run.
type trial struct {
	*docker
	rate float64
	load string // container
}

type step struct {
	does string
	run  func(ctx context.Context) error
}

// steps are all of it, in order.
func (t *trial) steps() []step {
	return []step{
		{"build", t.command("build", "setup", "ingress", "worker", "standalone", "loadgen", "operator")},
		{"up", t.up},
		{"look at confinement, ports and secrets", t.looks},
		{"Prometheus sees two of each, and evaluates its rules", t.watched},
		{"begin the load", t.begin},
		{"scale to 4 workers", t.scale("worker", 4, 2)},
		{"scale to 1 worker", t.scale("worker", 1, 2)},
		{"scale to 2 workers", t.scale("worker", 2, 2)},
		{"scale to 4 ingresses", t.scale("ingress", 4, 2)},
		{"scale to 2 ingresses", t.scale("ingress", 2, 2)},
		{"kill a worker", t.kill("worker", 2)},
		{"kill an ingress", t.kill("ingress", 2)},
		{"kill a broker", t.kill("nats-2", 1)},
		{"cut a worker off", t.cut("worker", "back", 2)},
		{"cut an ingress off from the proxy", t.cutFront},
		{"cut a broker off", t.cut("nats-3", "back", 1)},
		{"Prometheus sees two of each", func(ctx context.Context) error { return t.sees(ctx, 2, 2) }},
		{"end the load, and audit", t.end},
		{"audit once more, with outcomes and events", t.verify("-outcomes")},
		{"inspect", t.command("run", "--rm", "-T", "operator", "inspect")},
		{"stop in good order", t.stop},
		{"down and up again, with the same volumes", t.again},
		{"audit what is still there", t.verify()},
		{"standalone instead", t.standalone},
	}
}

// command is a compose command as a step.
func (t *trial) command(args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := t.compose(ctx, args...)
		return err
	}
}

// services are those that run, with how many containers.
func services() map[string]int {
	return map[string]int{"nats-1": 1, "nats-2": 1, "nats-3": 1, "ingress": 2, "worker": 2, "proxy": 1, "prometheus": 1, "grafana": 1}
}

func (t *trial) up(ctx context.Context) error {
	if _, err := t.compose(ctx, "up", "-d"); err != nil {
		return err
	}
	for service, n := range services() {
		if err := t.awaitService(ctx, service, n, "healthy"); err != nil {
			return err
		}
	}
	return nil
}

func (t *trial) looks(ctx context.Context) error {
	return errors.Join(t.confined(ctx), t.private(ctx))
}

func (t *trial) watched(ctx context.Context) error {
	if err := t.sees(ctx, 2, 2); err != nil {
		return err
	}
	return t.rules(ctx)
}

// begin starts load that lasts until it is told to end.
func (t *trial) begin(ctx context.Context) (err error) {
	said, err := t.compose(ctx, "run", "-d", "loadgen", "-users", "5000", "-connections", "32", "-rate", fmt.Sprint(t.rate), "-repeats", "3%",
		"-duration", "24h", "-ledger", ledger, "-quiet")
	if err != nil {
		return err
	}
	words := strings.Fields(said)
	t.load = words[len(words)-1] // its name
	return t.loaded(ctx)
}

// loaded fails if the load ended by itself.
func (t *trial) loaded(ctx context.Context) error {
	all, err := t.inspect(ctx, t.load)
	if err != nil {
		return err
	}
	if all[0].State.Status != "running" {
		text, _ := t.run(ctx, "sh", "-c", "docker logs --tail 40 "+t.load+" 2>&1")
		return fmt.Errorf("the load is %s\n%s", all[0].State.Status, text)
	}
	return nil
}

// scale changes the number of one service; other is how many of the other there are.
func (t *trial) scale(service string, n, other int) func(context.Context) error {
	return func(ctx context.Context) error {
		args := []string{"up", "-d", "--scale", fmt.Sprintf("%s=%d", service, n)}
		if _, err := t.compose(ctx, args...); err != nil {
			return err
		}
		if err := t.awaitService(ctx, service, n, "healthy"); err != nil {
			return err
		}
		ingresses, workers := n, other
		if service == "worker" {
			ingresses, workers = other, n
		}
		if err := t.sees(ctx, ingresses, workers); err != nil {
			return err
		}
		return errors.Join(t.shares(ctx, workers), t.loaded(ctx))
	}
}

// kill ends a process without a warning, and starts it again.
func (t *trial) kill(service string, n int) func(context.Context) error {
	return func(ctx context.Context) error {
		id, err := t.first(ctx, service)
		if err != nil {
			return err
		}
		if _, err := t.docker.docker(ctx, "kill", id); err != nil {
			return err
		}
		if service == "worker" { // the other one has everything
			if err := t.shares(ctx, 1); err != nil {
				return err
			}
		}
		if _, err := t.docker.docker(ctx, "start", id); err != nil {
			return err
		}
		return errors.Join(t.awaitService(ctx, service, n, "healthy"), t.loaded(ctx))
	}
}

// cut takes a container off a network until its health check has noticed, and puts it back.
func (t *trial) cut(service, network string, n int) func(context.Context) error {
	return func(ctx context.Context) error {
		return t.apart(ctx, service, network, []string{service}, n, func(id string) error {
			return t.await(ctx, func(ctx context.Context) (string, error) {
				all, err := t.inspect(ctx, id)
				if err != nil || all[0].condition() == "unhealthy" {
					return "", err
				}
				return all[0].Name + " is cut off, and " + all[0].condition(), nil
			})
		})
	}
}

// cutFront: an ingress that only the proxy does not reach is well, and gets no requests.
func (t *trial) cutFront(ctx context.Context) error {
	return t.apart(ctx, "ingress", "front", []string{"ingress", "ingress-http"}, 2, func(string) error {
		return t.await(ctx, func(ctx context.Context) (string, error) {
			known, err := t.vector(ctx, `haproxy_backend_active_servers{proxy="ingress"}`)
			if err == nil && len(known) == 1 && known[0] == 1 {
				return "", nil
			}
			return fmt.Sprintf("the proxy has %v ingresses, want 1: %v", known, err), nil
		})
	})
}

// apart takes one of a service's containers off a network until noticed returns, and waits until all are well again.
func (t *trial) apart(ctx context.Context, service, network string, aliases []string, n int, noticed func(id string) error) error {
	id, err := t.first(ctx, service)
	if err != nil {
		return err
	}
	net, err := t.network(ctx, network)
	if err != nil {
		return err
	}
	if _, err := t.docker.docker(ctx, "network", "disconnect", net, id); err != nil {
		return err
	}
	if err := noticed(id); err != nil {
		return err
	}
	args := []string{"network", "connect"}
	for _, alias := range aliases {
		args = append(args, "--alias", alias)
	}
	if _, err := t.docker.docker(ctx, append(args, net, id)...); err != nil {
		return err
	}
	return errors.Join(t.awaitService(ctx, service, n, "healthy"), t.loaded(ctx))
}
