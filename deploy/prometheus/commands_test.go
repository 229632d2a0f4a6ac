package prometheus

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/worker"
)

var (
	typed = regexp.MustCompile("(?:^ {4}|`)((?:worker|ingress) [a-z][^`#]*)")
	flags = regexp.MustCompile(` (-[a-z][a-z-]*)`)
)

// What somebody is told to type in the middle of the night is there: the verb, and each of its flags.
func TestCommandsOfTheRunbookExist(t *testing.T) {
	found := 0
	for line := range strings.Lines(runbookText(t)) {
		for _, m := range typed.FindAllStringSubmatch(line, -1) {
			words := strings.Fields(m[1])
			usage, ok := usageOf(words[0], words[1:])
			if !ok {
				t.Errorf("there is no command %s", m[1])
				continue
			}
			found++
			for _, flag := range flags.FindAllStringSubmatch(m[1], -1) {
				if !regexp.MustCompile(`(?m)^\s*` + flag[1] + `\b`).MatchString(usage) {
					t.Errorf("%q: no flag %s in\n%s", m[1], flag[1], usage)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d commands were found", found)
	}
}

// usageOf is what a verb says of itself.
func usageOf(program string, args []string) (usage string, ok bool) {
	var out bytes.Buffer
	ctx, help := context.Background(), []string{"-h"}
	code := 0
	switch verb := args[0]; {
	case program == "worker":
		code, ok = worker.Command(ctx, []string{verb, "-h"}, nil, &out, &out)
	case verb == "keys" && len(args) > 1 && !strings.HasPrefix(args[1], "-"):
		code, ok = ingress.KeysCommand([]string{args[1], "-h"}, &out, &out), true
	case verb == "keys":
		code, ok = ingress.KeysCommand(help, &out, &out), true
	case verb == "token":
		code, ok = ingress.TokenCommand(help, &out, &out), true
	case verb == "limit":
		code, ok = ingress.LimitCommand(ctx, help, nil, &out, &out), true
	case verb == "revoke":
		code, ok = ingress.RevokeCommand(ctx, help, nil, io.NopCloser(strings.NewReader("")), &out, &out), true
	}
	return out.String(), ok && code == 0
}
