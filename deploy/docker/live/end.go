package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// auditTime is how many seconds the load is given to audit itself, when it was told to end.
const auditTime = "600"

// end tells the load to end, and shows what it found; every promise that it was given must have been kept.
func (t *trial) end(ctx context.Context) error {
	if _, err := t.docker.docker(ctx, "stop", "-t", auditTime, t.load); err != nil {
		return err
	}
	all, err := t.inspect(ctx, t.load)
	if err != nil {
		return err
	}
	text, err := t.run(ctx, "sh", "-c", "docker logs --tail 40 "+t.load+" 2>&1")
	t.say("  %s", strings.ReplaceAll(text, "\n", "\n        "))
	if code := all[0].State.ExitCode; err == nil && code != 0 {
		err = fmt.Errorf("loadgen ended with %d", code)
	}
	return err
}

// verify holds the ledger against state and events.
func (t *trial) verify(args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		all := append([]string{"run", "--rm", "-T", "loadgen", "verify", "-ledger", ledger,
			"-nats-url", "nats://nats-1:4222,nats://nats-2:4222,nats://nats-3:4222", "-nats-nkey", "/keys/operator.nk"}, args...)
		text, err := t.compose(ctx, all...)
		if err == nil {
			t.say("  %s", strings.ReplaceAll(tail(text), "\n", "\n        "))
		}
		return err
	}
}

// stop is `docker compose stop`: our processes drain and end with 0, in the time that they are given.
func (t *trial) stop(ctx context.Context) error {
	if _, err := t.compose(ctx, "stop", "ingress", "worker"); err != nil {
		return err
	}
	var faults []error
	for _, service := range []string{"ingress", "worker"} {
		ids, err := t.containers(ctx, service)
		if err != nil {
			return err
		}
		all, err := t.inspect(ctx, ids...)
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.State.ExitCode != 0 || c.State.Status != "exited" {
				faults = append(faults, fmt.Errorf("%s is %s with %d", c.Name, c.State.Status, c.State.ExitCode))
			}
		}
	}
	return errors.Join(faults...)
}

func (t *trial) again(ctx context.Context) error {
	if _, err := t.compose(ctx, "down", "--remove-orphans"); err != nil {
		return err
	}
	return t.up(ctx)
}

// standalone is one container, without the others.
func (t *trial) standalone(ctx context.Context) error {
	if _, err := t.compose(ctx, "down", "--remove-orphans"); err != nil {
		return err
	}
	if _, err := t.compose(ctx, "up", "-d", "standalone"); err != nil {
		return err
	}
	if err := t.awaitService(ctx, "standalone", 1, "healthy"); err != nil {
		return err
	}
	ids, err := t.containers(ctx, "")
	if err == nil && len(ids) != 1 {
		err = fmt.Errorf("%d containers run, want 1", len(ids))
	}
	return errors.Join(err, t.looks(ctx))
}
