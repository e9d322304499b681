// Package deploy holds what runs Longwire elsewhere: the systemd unit, a
// Kubernetes manifest, alerts and a dashboard here, the Dockerfile and the
// compose file at the root. Its test keeps them true to the program: the settings
// and commands they name must exist. Package test compares the alerts and the
// dashboard with /metrics.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/longwire/longwire/internal/config"
)

type composeFile struct {
	Services map[string]struct {
		Build       string            `yaml:"build"`
		Image       string            `yaml:"image"`
		Restart     string            `yaml:"restart"`
		StopGrace   string            `yaml:"stop_grace_period"`
		Environment map[string]string `yaml:"environment"`
		Ports       []string          `yaml:"ports"`
		Volumes     []string          `yaml:"volumes"`
		ReadOnly    bool              `yaml:"read_only"`
		CapDrop     []string          `yaml:"cap_drop"`
		SecurityOpt []string          `yaml:"security_opt"`
		MemLimit    string            `yaml:"mem_limit"`
		Healthcheck struct {
			Disable bool `yaml:"disable"`
		} `yaml:"healthcheck"`
		Profiles  []string `yaml:"profiles"`
		DependsOn map[string]struct {
			Condition string `yaml:"condition"`
		} `yaml:"depends_on"`
		Command []string `yaml:"command"`
	} `yaml:"services"`
	Volumes  map[string]any `yaml:"volumes"`
	Confined map[string]any `yaml:"x-confined"` // merged into each service
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c composeFile
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict()); err != nil {
		t.Fatalf("docker-compose.yml:\n%s", yaml.FormatError(err, false, true))
	}
	return c
}

// TestTheImageWantsItsBaseByDigest: make image gives docker nothing else.
func TestTheImageWantsItsBaseByDigest(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make")
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\necho docker \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("0123456789abcdef", 4)
	for base, good := range map[string]bool{"": false, "golang:1.26": false, "golang@sha256:": false, "golang:1.26@sha256:" + digest[1:]: false,
		"golang:1.26@sha256:" + digest: true, "golang@sha256:" + digest: true, "@sha256:" + digest: false, "golang:1.26@sha256:" + digest + "0": false} {
		cmd := exec.Command("make", "-s", "image", "GO_IMAGE="+base, "VERSION=v1")
		cmd.Dir, cmd.Env = "..", append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if built := strings.Contains(string(out), "docker build --build-arg GO_IMAGE="+base+" "); built != good || (err == nil) != good {
			t.Errorf("GO_IMAGE=%s: %v\n%s", base, err, out)
		}
	}
}

func TestComposeFile(t *testing.T) {
	c := readCompose(t)
	gw, ok := c.Services["longwire"]
	if !ok || gw.Build == "" {
		t.Fatal("no service longwire that is built from here")
	}
	for _, p := range gw.Ports {
		if !strings.HasPrefix(p, "127.0.0.1:") {
			t.Errorf("port %s is published to other machines while the gateway needs no key", p)
		}
	}
	for name, s := range c.Services {
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.MemLimit == "" {
			t.Errorf("%s may write to its image, has capabilities, may gain some, or has no memory limit", name)
		}
		if gateway := name == "longwire"; s.Healthcheck.Disable == gateway {
			t.Errorf("%s has its health check disabled: %t", name, s.Healthcheck.Disable)
		}
		for dep := range s.DependsOn {
			if _, ok := c.Services[dep]; !ok {
				t.Errorf("%s depends on %s, which is no service", name, dep)
			}
		}
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			if _, ok := c.Volumes[volume]; !ok {
				t.Errorf("%s mounts %s, which is not declared", name, volume)
			}
		}
		if name != "longwire" && !slices.Equal(s.Profiles, []string{"demo"}) {
			t.Errorf("%s starts without --profile demo", name)
		}
	}
}

// What the container is started with must be a valid configuration.
func TestContainerSettings(t *testing.T) {
	var env []string
	for k, v := range readCompose(t).Services["longwire"].Environment {
		env = append(env, k+"="+v)
	}
	docker, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(LONGWIRE_[A-Z_]+)=(\S+)`).FindAllStringSubmatch(string(docker), -1) {
		env = append(env, m[1]+"="+m[2])
	}
	if len(env) < 4 {
		t.Fatalf("found only %q", env)
	}
	if _, _, err := config.Load(config.LoadOptions{Env: env}); err != nil {
		t.Errorf("with %q: %v", env, err)
	}
	if !strings.Contains(string(docker), "/etc/ssl/certs/ca-certificates.crt") {
		t.Error("the image has no CA roots: a hook over https cannot be verified")
	}
}

func TestUnitSettings(t *testing.T) {
	unit, err := os.ReadFile("longwire.service")
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, m := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(string(unit), -1) {
		env = append(env, m[1])
	}
	if len(env) == 0 {
		t.Fatal("the unit sets nothing")
	}
	for _, line := range []string{"StateDirectoryMode=0700", "UMask=0077", "NoNewPrivileges=yes", "ProtectProc=invisible", "ProtectKernelLogs=yes", "ProtectClock=yes",
		"ProtectHostname=yes", "RestrictSUIDSGID=yes", "RemoveIPC=yes", "PrivateUsers=yes", "MemoryMax=80%"} {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	if _, _, err := config.Load(config.LoadOptions{Env: env}); err != nil {
		t.Errorf("with %q: %v", env, err)
	}
}

// What the pod is started with is a valid configuration, and its probes are
// answered without a key.
func TestKubernetesManifest(t *testing.T) {
	text, err := os.ReadFile("kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type probe struct {
		HTTPGet struct {
			Path, Port, Scheme string
		} `yaml:"httpGet"`
	}
	var set struct {
		Kind string
		Spec struct {
			Replicas int
			Template struct {
				Spec struct {
					EnableServiceLinks *bool `yaml:"enableServiceLinks"`
					Grace              int   `yaml:"terminationGracePeriodSeconds"`
					Containers         []struct {
						Env       []struct{ Name, Value string }
						Startup   probe `yaml:"startupProbe"`
						Liveness  probe `yaml:"livenessProbe"`
						Readiness probe `yaml:"readinessProbe"`
					}
				}
			}
		}
	}
	documents := strings.Split(string(text), "\n---\n")
	if err := yaml.Unmarshal([]byte(documents[len(documents)-1]), &set); err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template.Spec
	if set.Kind != "StatefulSet" || set.Spec.Replicas != 1 || pod.EnableServiceLinks == nil || *pod.EnableServiceLinks || len(pod.Containers) != 1 {
		t.Fatalf("%+v is not one pod without the variables of Services", set)
	}
	c := pod.Containers[0]
	var env []string
	secrets := t.TempDir()
	for _, v := range c.Env {
		value := v.Value
		if strings.HasPrefix(value, "/secrets/keys/") {
			value = secrets + "/" + v.Name
			if err := os.WriteFile(value, []byte("lwk_0123456789abcdef0123456789abcdef"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		env = append(env, v.Name+"="+value)
	}
	env = append(env, "LONGWIRE_TCP_ADDR=0.0.0.0:6666", "LONGWIRE_HTTP_ADDR=0.0.0.0:8080") // of the image
	cfg, _, err := config.Load(config.LoadOptions{Env: env})
	if err != nil {
		t.Fatalf("with %q: %v", env, err)
	}
	if least := cfg.Drain.Delay.Std() + cfg.Drain.Timeout.Std(); float64(pod.Grace) <= least.Seconds() {
		t.Errorf("the pod is killed after %d s, and a drain may take %v", pod.Grace, least)
	}
	for path, p := range map[string][]probe{"/livez": {c.Startup, c.Liveness}, "/readyz": {c.Readiness}} {
		for _, p := range p {
			if p.HTTPGet.Path != path || p.HTTPGet.Scheme != "HTTPS" {
				t.Errorf("a probe asks %+v, want %s over HTTPS", p.HTTPGet, path)
			}
		}
	}
}
