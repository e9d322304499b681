// Command sbomgen writes the list of the parts of a Go binary, a software bill of
// materials in CycloneDX 1.6 JSON. The binary itself has the list: the linker writes
// each module with its version and checksum.
//
//	sbomgen -version v1.2.3 -image golang:1.26@sha256:… -out longwire.cdx.json longwire
//
// The binary may be of another platform. The output depends only on the binary and the
// flags, so a rebuilt binary has the same list.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", "", "file to write")
	version := flag.String("version", "", "version of the binary; default: the one that it names")
	image := flag.String("image", "", "image that the binary was built in")
	flag.Parse()
	if flag.NArg() != 1 || *out == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *out, *version, *image); err != nil {
		fmt.Fprintln(os.Stderr, "sbomgen:", err)
		os.Exit(1)
	}
}

func run(binary, out, version, image string) error {
	b, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("%s: %w", binary, err)
	}
	list, err := describe(info, sha256.Sum256(b), options{name: filepath.Base(binary), version: version, image: image})
	if err != nil {
		return fmt.Errorf("%s: %w", binary, err)
	}
	return os.WriteFile(out, list, 0o644)
}
