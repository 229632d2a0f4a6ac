package docker

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// compose is docker-compose.yml, as far as there are rules about it.
type compose struct {
	Services map[string]service
	Networks map[string]struct{ Internal bool }
	Volumes  map[string]any
}

type service struct {
	Image         string
	Build         *struct{ Context, Dockerfile, Target string }
	ContainerName string `yaml:"container_name"`
	Scale         int
	Profiles      []string
	User          string
	ReadOnly      bool     `yaml:"read_only"`
	CapDrop       []string `yaml:"cap_drop"`
	CapAdd        []string `yaml:"cap_add"`
	Privileged    bool
	SecurityOpt   []string `yaml:"security_opt"`
	Restart       string
	MemLimit      string  `yaml:"mem_limit"`
	CPUs          float64 `yaml:"cpus"`
	PidsLimit     int     `yaml:"pids_limit"`
	Logging       struct{ Options map[string]string }
	Environment   map[string]string
	Volumes       []string
	Ports         []string
	Networks      yaml.Node
	NetworkMode   string    `yaml:"network_mode"`
	DependsOn     yaml.Node `yaml:"depends_on"`
	Healthcheck   struct {
		Test    []string
		Disable bool
	}
	StopGracePeriod string `yaml:"stop_grace_period"`
}

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func load(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) < 12 {
		t.Fatalf("found %d services", len(c.Services))
	}
	return c
}

// ends says whether a service ends by itself: nobody asks it how it is.
func (s service) ends() bool { return s.Restart == "no" }

// keys are the names of a mapping, or the items of a list.
func keys(node yaml.Node) map[string]yaml.Node {
	all := map[string]yaml.Node{}
	if node.Kind == yaml.AliasNode {
		node = *node.Alias
	}
	for i, n := range node.Content {
		switch {
		case node.Kind == yaml.SequenceNode:
			all[n.Value] = yaml.Node{}
		case i%2 == 0:
			all[n.Value] = *node.Content[i+1]
		}
	}
	return all
}

// each runs a rule on all services.
func each(t *testing.T, rule func(t *testing.T, name string, s service)) {
	for name, s := range load(t).Services {
		t.Run(name, func(t *testing.T) { rule(t, name, s) })
	}
}

// Whoever breaks into a process finds nothing to write to, no right to gain, and no way to take the machine's memory.
func TestContainersAreConfined(t *testing.T) {
	each(t, func(t *testing.T, _ string, s service) {
		uid, _, _ := strings.Cut(s.User, ":")
		expect := func(ok bool, what string) {
			t.Helper()
			if !ok {
				t.Error(what)
			}
		}
		expect(regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(uid), "user is not a number over 0: root, or whatever the image says")
		expect(s.ReadOnly, "its root file system can be written to")
		expect(len(s.CapDrop) == 1 && s.CapDrop[0] == "ALL" && len(s.CapAdd) == 0 && !s.Privileged, "it has capabilities")
		expect(len(s.SecurityOpt) == 1 && s.SecurityOpt[0] == "no-new-privileges:true", "it may gain privileges")
		expect(s.MemLimit != "" && s.CPUs > 0 && s.PidsLimit > 0, "it has no limits")
		expect(s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != "", "its log grows without end")
	})
}

// A service with a name for its container cannot be scaled, and two projects cannot have it.
func TestContainersHaveNoNames(t *testing.T) {
	each(t, func(t *testing.T, _ string, s service) {
		if s.ContainerName != "" {
			t.Errorf("container is named %s", s.ContainerName)
		}
	})
}

// What runs is restarted when it ends, and says how it is; our own binaries by their own verb.
func TestServicesHaveHealthChecks(t *testing.T) {
	each(t, func(t *testing.T, name string, s service) {
		if s.ends() {
			if !s.Healthcheck.Disable {
				t.Error("it ends by itself, and is asked how it is")
			}
			return
		}
		if s.Restart != "unless-stopped" || s.Healthcheck.Disable || len(s.Healthcheck.Test) < 3 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("restart is %q, health check %q", s.Restart, s.Healthcheck.Test)
		}
		if s.Build != nil && (s.Healthcheck.Test[1] != "/"+s.Build.Target || s.Healthcheck.Test[2] != "healthcheck") {
			t.Errorf("health check is %q", s.Healthcheck.Test)
		}
	})
}

// Images are those that were tested, and what our own are built with is what go.mod says.
func TestImagesArePinned(t *testing.T) {
	dockerfile := read(t, "deploy/docker/Dockerfile")
	mod := read(t, "go.mod")
	version := func(pattern string) string { return regexp.MustCompile(pattern).FindStringSubmatch(mod)[1] }
	pinned := regexp.MustCompile(`:v?\d+\.\d+\.\d+(-[a-z0-9.]+)?(@sha256:[0-9a-f]{64})?$`)
	each(t, func(t *testing.T, name string, s service) {
		if s.Build != nil {
			if s.Image != "" || s.Build.Dockerfile != "deploy/docker/Dockerfile" || !strings.Contains(dockerfile, "\nFROM base AS "+s.Build.Target+"\n") {
				t.Errorf("is built as %+v, image %q: one without a name is never pulled from whoever has that name in a registry", *s.Build, s.Image)
			}
			return
		}
		if !pinned.MatchString(s.Image) {
			t.Errorf("image %s has no full version", s.Image)
		}
		if strings.HasPrefix(s.Image, "nats:") && !strings.HasPrefix(s.Image, "nats:"+version(`nats-server/v2 v(\S+)`)+"-") {
			t.Errorf("image is %s, tests have nats-server %s", s.Image, version(`nats-server/v2 v(\S+)`))
		}
	})
	for _, from := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(dockerfile, -1) {
		if from[1] != "scratch" && from[1] != "base" && (!pinned.MatchString(from[1]) || !strings.HasPrefix(from[1], "golang:"+version(`(?m)^go (\S+)`)+"-")) {
			t.Errorf("images are built from %s", from[1])
		}
	}
}

// Only what people use is published, and only on this machine until somebody decides otherwise; only those services are on the network that leads outside.
func TestLittleIsReachable(t *testing.T) {
	c := load(t)
	published := map[string]bool{"proxy": true, "prometheus": true, "grafana": true, "standalone": true}
	each(t, func(t *testing.T, name string, s service) {
		if (len(s.Ports) > 0) != published[name] {
			t.Errorf("publishes %q", s.Ports)
		}
		for _, port := range s.Ports {
			if !regexp.MustCompile(`^\$\{[A-Z]+_PUBLISH:-127\.0\.0\.1:\d+\}:\d+$`).MatchString(port) {
				t.Errorf("publishes %q", port)
			}
		}
		networks := keys(s.Networks)
		if s.NetworkMode == "none" && len(networks) == 0 {
			return
		}
		if len(networks) == 0 {
			t.Error("is on the default network")
		}
		for network := range networks {
			if inside := c.Networks[network].Internal; !inside && !published[name] && name != "loadgen" {
				t.Errorf("is on %s", network)
			}
		}
	})
}
