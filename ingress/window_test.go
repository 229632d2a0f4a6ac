package ingress

import (
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
)

func TestShortestWindowIsThatOfTheLogs(t *testing.T) {
	differing := []broker.Difference{
		{Stream: "EVENTS-0", Setting: settingWindow, Have: "100ms", Want: "2m0s"},
		{Stream: "TRIGGERS-1", Setting: "max_bytes", Have: "1", Want: "2"},
		{Stream: "TRIGGERS-2", Setting: settingWindow, Have: "1s", Want: "2m0s"},
		{Stream: "TRIGGERS-3", Setting: settingWindow, Have: "5m0s", Want: "2m0s"},
	}
	if got := shortestWindow(2*time.Minute, differing); got != time.Second {
		t.Errorf("got %s", got)
	}
	if got := shortestWindow(2*time.Minute, nil); got != 2*time.Minute {
		t.Errorf("got %s", got)
	}
}
