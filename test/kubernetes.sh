#!/usr/bin/env bash
# Reads deploy/kubernetes.yaml as Kubernetes does: each document into the type of
# its kind, with no unknown or doubled member. The types come in a module of their
# own, so that the gateway's go.mod does not know them. Needs Go.
set -euo pipefail
cd "$(dirname "$0")/.."
manifest=$PWD/deploy/kubernetes.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/main.go" <<'GO'
package main

import (
	"bytes"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	for i, doc := range bytes.Split(text, []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			panic(err)
		}
		var object any
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 Service":
			object = new(corev1.Service)
		case "apps/v1 StatefulSet":
			object = new(appsv1.StatefulSet)
		default:
			panic(fmt.Sprintf("document %d is %+v", i, kind))
		}
		if err := yaml.UnmarshalStrict(doc, object); err != nil {
			fmt.Fprintf(os.Stderr, "document %d, %s: %v\n", i, kind.Kind, err)
			os.Exit(1)
		}
		fmt.Println("ok:", kind.Kind)
	}
}
GO
cd "$work"
go mod init manifest >/dev/null 2>&1
get() { go get k8s.io/api@v0.34.1 k8s.io/apimachinery@v0.34.1 sigs.k8s.io/yaml@v1.6.0 && go mod tidy; }
get >get.log 2>&1 || get >get.log 2>&1 || { # the proxy may be away for a moment
	cat get.log >&2
	exit 1
}
go run . "$manifest"
