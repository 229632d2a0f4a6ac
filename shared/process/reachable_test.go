package process_test

import (
	"testing"

	"github.com/triggerd/triggerd/shared/process"
)

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{
		":9090": "127.0.0.1:9090", "0.0.0.0:9090": "127.0.0.1:9090", "[::]:9090": "127.0.0.1:9090", "10.0.0.1:9090": "10.0.0.1:9090", "name:9090": "name:9090", "name": "name",
	} {
		if got := process.Reachable(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
