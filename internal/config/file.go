package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/longwire/longwire/internal/private"
)

// maxFile bounds a configuration or secret file in bytes, so that a wrong name does
// not fill the memory.
const maxFile = 1 << 20

// file is the YAML file being read.
type file struct {
	*loader
	name     string
	lines    []string
	examined bool // whether other users can change it, because it has a secret
}

// loadFile reads the settings of a YAML file.
func (l *loader) loadFile(name string) {
	text, err := readText(name)
	if err != nil {
		l.complain(Problem{Text: err.Error(), Source: Source{Kind: "file", Name: name}})
		return
	}
	f := &file{loader: l, name: name, lines: strings.Split(text, "\n")}
	tokens := lexer.Tokenize(text)
	doc, err := parser.Parse(tokens, 0)
	if err != nil {
		f.syntax(err)
		return
	}
	if t := secondDocument(tokens); t != nil {
		f.at(t, "", "a second document; the file holds one")
		return
	}
	for _, d := range doc.Docs {
		if d.Body != nil {
			f.mapping(d.Body, "")
		}
	}
}

// secondDocument returns the token with which the content of a second document begins, nil
// if there is none. The parser drops the content behind an empty document.
func secondDocument(tokens token.Tokens) *token.Token {
	separators, first := 0, -1
	for _, t := range tokens {
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			separators++
		case token.CommentType:
		default:
			if first < 0 {
				first = min(separators, 1) // one line --- may stand above the content
			}
			if separators != first {
				return t
			}
		}
	}
	return nil
}

func readText(name string) (string, error) {
	r, err := os.Open(name)
	if err != nil {
		if p, ok := errors.AsType[*os.PathError](err); ok {
			err = p.Err
		}
		return "", fmt.Errorf("cannot read it: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("cannot read it: %w", err)
	}
	if len(b) > maxFile {
		return "", fmt.Errorf("larger than %v", Size(maxFile))
	}
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return "", errors.New("UTF-16; save it as UTF-8")
	}
	return strings.TrimPrefix(string(b), "\ufeff"), nil // editors on Windows write a byte order mark
}

// syntax reports an error of the YAML parser.
func (f *file) syntax(err error) {
	var at *token.Token
	text := err.Error()
	if e, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		at, text = e.Token, e.Message
	}
	if strings.HasPrefix(text, "found character '\t'") {
		text = "a tab indents this line: YAML takes spaces"
	}
	f.at(at, "", text)
}

// mapping reads a mapping: the file, or a section of it with the prefix "tcp.".
func (f *file) mapping(n ast.Node, prefix string) {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		f.at(n.GetToken(), strings.TrimSuffix(prefix, "."), "want settings, each a name, a colon and a value")
		return
	}
	for _, e := range entries {
		f.entry(e, prefix)
	}
}

// entry reads "name: value".
func (f *file) entry(e *ast.MappingValueNode, prefix string) {
	name := e.Key.GetToken()
	key := prefix + name.Value
	_, none := e.Value.(*ast.NullNode)
	if s, ok := f.byKey[key]; ok {
		if none {
			f.at(name, key, "has no value; remove the line, or give it one")
			return
		}
		f.value(s, e.Value)
		return
	}
	var names []string // of sections
	for _, s := range sections() {
		names = append(names, s.name)
	}
	if prefix == "" && slices.Contains(names, name.Value) {
		if !none {
			f.mapping(e.Value, key+".")
		}
		return
	}
	known := append(f.names(func(s setting) string { return s.key }), names...)
	f.at(name, "", fmt.Sprintf("unknown setting %s%s", key, DidYouMean(key, known)))
}

// value reads a scalar, or a list if the setting has several values.
func (f *file) value(s setting, n ast.Node) {
	from := f.source(n.GetToken(), s.secret())
	if s.secret() && !f.examined {
		f.examined = true
		f.config.secretFiles = append(f.config.secretFiles, f.name)
		if err := private.Trusted(f.name); err != nil {
			f.complain(Problem{Setting: s.key, Text: err.Error(), Source: from})
		}
	}
	if seq, ok := n.(*ast.SequenceNode); ok && s.list() {
		var items []string
		for _, item := range seq.Values {
			text, ok := scalar(item)
			if !ok {
				f.at(item.GetToken(), s.key, "want plain values in the list")
				return
			}
			items = append(items, text)
		}
		f.assign(s, from, func() error { return s.setList(items) })
		return
	}
	text, ok := scalar(n)
	if !ok {
		f.at(n.GetToken(), s.key, fmt.Sprintf("want one value (%s)", s.kind()))
		return
	}
	f.assign(s, from, func() error { return s.set(text) })
}

// scalar returns the text of a plain value.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case *ast.LiteralNode:
		return n.Value.GetToken().Value, true
	}
	return "", false
}

// at reports a problem at the token's place in the file.
func (f *file) at(t *token.Token, key, text string) {
	f.complain(Problem{Setting: key, Text: text, Source: f.source(t, false)})
}

// source returns the place of t, with its line and a caret under the column. It
// shows no other line, and none that may hold a secret, because the text ends up in
// logs.
func (f *file) source(t *token.Token, secret bool) Source {
	if t == nil || t.Position == nil {
		return Source{Kind: "file", Name: f.name}
	}
	line, column := t.Position.Line, t.Position.Column
	s := Source{Kind: "file", Name: fmt.Sprintf("%s:%d:%d", f.name, line, column)}
	if line < 1 || line > len(f.lines) || secret || f.mayHoldSecret(f.lines[line-1]) {
		return s
	}
	margin := fmt.Sprintf("%5d | ", line)
	s.excerpt = margin + strings.TrimRight(f.lines[line-1], "\r") + "\n" +
		strings.Repeat(" ", len(margin)+max(column-1, 0)) + "^"
	return s
}

// mayHoldSecret is careful: any item of a list may be a key, whatever the list is
// called.
func (f *file) mayHoldSecret(line string) bool {
	if strings.Contains(line, apiKeyPrefix) || strings.HasPrefix(strings.TrimSpace(line), "- ") {
		return true
	}
	for _, s := range f.settings {
		_, name, _ := strings.Cut(s.key, ".")
		if s.secret() && strings.Contains(line, name) {
			return true
		}
	}
	return false
}
