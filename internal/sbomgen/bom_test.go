package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestEachModuleIsListedWithItsVersionAndChecksum(t *testing.T) {
	const sum = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
	info := &debug.BuildInfo{GoVersion: "go1.26.8 X:greenteagc", Path: "example.com/Thing/cmd/thing",
		Main: debug.Module{Path: "example.com/Thing", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.com/z", Version: "v2.0.0+incompatible", Sum: sum},
			{Path: "example.com/Old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/new", Version: "v1.1.0", Sum: sum}},
			{Path: "example.com/here", Version: "v1.0.0", Replace: &debug.Module{Path: "./here"}},
		},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "-ldflags", Value: "-s"}, {Key: "vcs.time", Value: "2026-11-22T14:00:00Z"}},
	}
	text, err := describe(info, [32]byte{1, 2, 3}, options{name: "thing", version: "v1.2.3", image: "golang@sha256:0123"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/thing.cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(want) {
		t.Errorf("got\n%s", text)
	}
	info.Deps[0].Sum = "h2:xyz"
	if _, err := describe(info, [32]byte{}, options{}); err == nil || !strings.Contains(err.Error(), "example.com/z") {
		t.Errorf("a checksum of another kind: %v", err)
	}
	if _, err := describe(&debug.BuildInfo{}, [32]byte{}, options{}); err == nil {
		t.Error("a binary without a main module has a list")
	}
}

// TestTheListOfTheGatewayIsWhole: it has each module that go lists for the packages of
// the binary.
func TestTheListOfTheGatewayIsWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the gateway")
	}
	golang := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
		return string(out)
	}
	binary := filepath.Join(t.TempDir(), "longwire")
	golang("build", "-o", binary, "./cmd/longwire")
	out := binary + ".cdx.json"
	if err := run(binary, out, "v9.9.9", ""); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, c := range b.Components {
		if c.Name != "stdlib" && len(c.Hashes) != 1 {
			t.Errorf("%s has no checksum", c.Name)
		}
		listed[c.Name+" "+c.Version] = true
	}
	modules := strings.Fields(golang("list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}", "./cmd/longwire"))
	if len(modules) == 0 {
		t.Fatal("go lists no modules")
	}
	for _, m := range modules {
		if !listed[strings.Replace(m, "@", " ", 1)] {
			t.Errorf("%s is not listed", m)
		}
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !listed["stdlib "+strings.TrimPrefix(info.GoVersion, "go")] {
		t.Errorf("the standard library of %s is not listed", info.GoVersion)
	}
	if b.Metadata.Component.Version != "v9.9.9" {
		t.Errorf("the version is %q", b.Metadata.Component.Version)
	}
}

func TestAFileThatIsNoGoBinaryHasNoList(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.cdx.json")
	if err := run("bom.go", out, "", ""); err == nil {
		t.Error("a source file has a list")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
}
