package standalone_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
)

// Standalone keeps snapshots like everybody else: its log is trimmed, and when the worker's files are lost they come back.
func TestLogIsTrimmedAndFilesComeBack(t *testing.T) {
	dir, args := t.TempDir(), []string{"-demo", "-partitions", "1", "-snapshot-every", "1s", "-checkpoint-every", "10ms"}
	in := launch(t, dir, args...)
	trigger := func(n int) {
		in.trigger(fmt.Sprintf(`{"user_id":"alice","module_id":1068935,"is_async":true,"custom_vars":{"n":%d}}`, n))
	}
	trigger(0)
	n := 0
	natstest.Eventually(t, func() bool {
		n++
		trigger(n)
		_, text := request(t, http.MethodGet, "http://"+in.Addrs().Admin+"/metrics", nil, "")
		return strings.Contains(text, "\ntriggerd_worker_snapshots{partition=\"0\"} 2\n") && strings.Contains(text, "\ntriggerd_worker_trimmed_position{partition=\"0\"} ")
	}, "the log is trimmed")
	in.stop()
	if err := os.Remove(filepath.Join(dir, "worker", "partition-0.db")); err != nil {
		t.Fatal(err)
	}
	in = launch(t, dir, args...)
	if u := in.user("alice"); string(u.CustomVars["n"]) != fmt.Sprint(n) {
		t.Errorf("alice has come back as %+v", u)
	}
	if !strings.Contains(in.log.String(), "snapshot restored") {
		t.Error("it was not restored from a snapshot")
	}
}
