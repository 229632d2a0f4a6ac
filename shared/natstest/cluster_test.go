package natstest_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/natstest"
)

// What is acknowledged by a cluster of three is there after the leader was killed, and after all were.
func TestClusterSurvivesKills(t *testing.T) {
	c := natstest.StartCluster(t)
	js, err := jetstream.New(c.Connect())
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() bool { // an answer can be late, or lost
		_, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3, MaxBytes: 1 << 20})
		return err == nil
	}, "stream S is there")
	publish(t, js, 20)
	leader := c.Leader(js, "S")
	leader.Kill()
	if now := c.Leader(js, "S"); now == leader {
		t.Fatal("a dead server leads")
	}
	if n := count(t, js); n != 20 {
		t.Fatalf("%d messages after the leader was killed, want 20", n)
	}
	publish(t, js, 20)
	leader.Boot()
	leader.AwaitCurrent()
	c.Kill()
	c.Boot()
	c.Leader(js, "S")
	if n := count(t, js); n != 40 {
		t.Fatalf("%d messages after all were killed, want 40", n)
	}
	leader.Stop()
	publish(t, js, 1)
}
