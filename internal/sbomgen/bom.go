package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
)

// options are the facts that a binary does not have.
type options struct {
	name    string // of the file
	version string // "" = as the binary says
	image   string // "" = none
}

// The parts of CycloneDX that the list uses, in the order of its schema.
type (
	bom struct {
		Schema       string       `json:"$schema"`
		Format       string       `json:"bomFormat"`
		SpecVersion  string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp string    `json:"timestamp,omitempty"` // of the commit
		Tools     tools     `json:"tools"`
		Component component `json:"component"`
	}
	tools struct {
		Components []component `json:"components"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref,omitempty"`
		Name       string     `json:"name"`
		Version    string     `json:"version,omitempty"`
		Scope      string     `json:"scope,omitempty"`
		Hashes     []hash     `json:"hashes,omitempty"`
		PURL       string     `json:"purl,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Alg     string `json:"alg"`
		Content string `json:"content"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

const sha256Name = "SHA-256"

// describe returns the list of the parts of a binary with this checksum.
func describe(info *debug.BuildInfo, sum [32]byte, o options) ([]byte, error) {
	if info.Main.Path == "" {
		return nil, errors.New("it names no main module")
	}
	version := cmp.Or(o.version, info.Main.Version)
	main := component{Type: "application", Name: o.name, Version: version, PURL: purl(info.Main.Path, version),
		Hashes: []hash{{sha256Name, hex.EncodeToString(sum[:])}}}
	if dir, ok := strings.CutPrefix(info.Path, info.Main.Path+"/"); ok {
		main.PURL += "#" + dir
	}
	main.Ref = main.PURL
	var timestamp string
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "GOARM", "CGO_ENABLED", "vcs.revision", "vcs.modified":
			main.Properties = append(main.Properties, property{"go:" + s.Key, s.Value})
		case "vcs.time":
			timestamp = s.Value
		}
	}
	if o.image != "" {
		main.Properties = append(main.Properties, property{"build:image", o.image})
	}
	b := bom{Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Serial:   serial(sum),
		Metadata: metadata{timestamp, tools{[]component{{Type: "application", Name: "longwire-sbomgen"}}}, main}}
	var err error
	if b.Components, err = components(info); err != nil {
		return nil, err
	}
	all := dependency{Ref: main.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
		b.Dependencies = append(b.Dependencies, dependency{Ref: c.Ref})
	}
	b.Dependencies = append([]dependency{all}, b.Dependencies...)
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(b); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// components returns the modules in a binary and Go's standard library, by name.
func components(info *debug.BuildInfo) ([]component, error) {
	goVersion, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ") // experiments may follow
	list := []component{{Type: "library", Name: "stdlib", Version: goVersion, PURL: purl("stdlib", goVersion)}}
	for _, m := range info.Deps {
		if r := m.Replace; r != nil && r.Version != "" { // else it is a directory here, which says nothing elsewhere
			m = r
		}
		c := component{Type: "library", Name: m.Path, Version: m.Version, PURL: purl(m.Path, m.Version)}
		if m.Sum != "" { // a module in a directory has none
			h, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
			if err != nil || len(h) != 32 {
				return nil, fmt.Errorf("module %s has the checksum %q, want h1", m.Path, m.Sum)
			}
			c.Hashes = []hash{{sha256Name, hex.EncodeToString(h)}}
		}
		list = append(list, c)
	}
	for i := range list {
		list[i].Ref, list[i].Scope = list[i].PURL, "required"
	}
	slices.SortFunc(list, func(a, b component) int { return strings.Compare(a.Ref, b.Ref) })
	return list, nil
}

// purl returns the package URL of a module. The specification wants the names of Go's
// modules in lower case.
func purl(path, version string) string {
	parts := strings.Split(strings.ToLower(path), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	s := "pkg:golang/" + strings.Join(parts, "/")
	if version != "" {
		s += "@" + url.QueryEscape(version)
	}
	return s
}

// serial returns a UUID that follows from a checksum (version 8).
func serial(sum [32]byte) string {
	u := sum[:16:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
