package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/docs"
)

// documents are routes for people and tools, which the description leaves out.
var documents = map[string]bool{
	"/": true, "/openapi.json": true, "/swagger": true, "/swagger/": true, "/swagger/{file}": true,
	"/console": true, "/console/*": true, "/docs": true, "/docs/": true, "/docs/problems": true, "/docs/problems/{slug}": true,
}

// TestRoutesAreDescribed compares the router with the description, both ways.
func TestRoutesAreDescribed(t *testing.T) {
	doc, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	described := make(map[string]bool)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[method+" "+path] = true
			if op.OperationID == "" || op.Summary == "" || len(op.Tags) == 0 {
				t.Errorf("%s %s lacks an id, a summary or a tag", method, path)
			}
		}
	}
	routed := make(map[string]bool)
	err = chi.Walk(newServer(Config{}).routes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		probe := method == http.MethodHead && !strings.HasPrefix(route, "/v1/")
		if !documents[route] && !probe {
			routed[method+" "+route] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for route := range routed {
		asGET := strings.HasPrefix(route, "HEAD ") && described["GET "+strings.TrimPrefix(route, "HEAD ")]
		if !described[route] && !asGET {
			t.Errorf("%s is served and not described", route)
		}
	}
	for route := range described {
		if !routed[route] {
			t.Errorf("%s is described and not served", route)
		}
	}
	if len(routed) < 20 {
		t.Errorf("%d routes walked, want all of them", len(routed))
	}
}

// TestScopesAreDescribed: what the description asks for is what the table asks
// for, and public routes ask for nothing.
func TestScopesAreDescribed(t *testing.T) {
	doc, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range newServer(Config{}).endpoints() {
		if documents[e.pattern] {
			continue
		}
		op := doc.Paths.Value(e.pattern).GetOperation(e.method)
		want := ""
		if e.need != public {
			want = e.need.String()
		}
		if e.need == anyKey {
			want = "any"
		}
		if got, _ := op.Extensions["x-scope"].(string); got != want || want != "" && !strings.Contains(op.Description, "`"+want+"`") {
			t.Errorf("%s %s is described with the scope %q, want %q", e.method, e.pattern, got, want)
		}
		if open := op.Security != nil && len(*op.Security) == 0; open != (e.need == public) {
			t.Errorf("%s %s: described as public %v", e.method, e.pattern, open)
		}
	}
}

func TestDescriptionSaysWhatSwaggerCannot(t *testing.T) {
	doc, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	if s := doc.Components.SecuritySchemes["BearerAuth"].Value; s.Type != "http" || s.Scheme != "bearer" {
		t.Errorf("security %s %s, want http bearer", s.Type, s.Scheme)
	}
	if doc.OpenAPI != "3.0.3" || doc.Servers[0].URL != "/" {
		t.Errorf("OpenAPI %s at %s, want 3.0.3 at /", doc.OpenAPI, doc.Servers[0].URL)
	}
	push := doc.Paths.Value("/v1/clients/{id}/messages").Post
	if push.Responses.Value("404").Value.Content["application/problem+json"] == nil {
		t.Error("404 is not problem+json")
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody == nil {
				continue
			}
			// A page derives a body with every member, which selects nothing or is refused.
			if body := op.RequestBody.Value.Content["application/json"]; body != nil && body.Example == nil {
				t.Errorf("%s %s has no example that works when it is sent", method, path)
			}
		}
	}
}

// TestEveryCodeHasAProblem: the domain cannot name an error that the table does
// not know.
func TestEveryCodeHasAProblem(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../gateway/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || v.Type == nil {
			return true
		}
		if name, ok := v.Type.(*ast.Ident); !ok || name.Name != "Code" {
			return true
		}
		codes++
		code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil || problem.Kind(code).Status() < 400 {
			t.Errorf("gateway.Code %q has no row in the table of problems", code)
		}
		return true
	})
	if codes < 10 {
		t.Errorf("%d codes found, want those of gateway/errors.go", codes)
	}
}

func TestProblemTypesResolve(t *testing.T) {
	h := newHarness(t)
	for _, want := range problem.Pages() {
		if want.Title == "" || want.Help == "" {
			t.Errorf("%s has no title or no help", want.Type)
		}
		if page := decode[problem.Page](h.call("GET", want.Type, "").want(200)); page != want {
			t.Errorf("%s: page %+v, want the table's %+v", want.Type, page, want)
		}
	}
	a := h.call("GET", problem.Path+"queue-full", "", "Accept", "text/html").want(200)
	if !strings.Contains(string(a.body), "<h1>Queue full</h1>") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("page for a browser: %s %s", a.header.Get("Content-Type"), a.body)
	}
	h.call("GET", problem.Path+"none", "").wantProblem(404, problem.RouteNotFound)
	h.call("GET", "/docs/problems", "").want(200)
}

// TestDocumentsAreServed covers what the description leaves out: the pages for
// people.
func TestDocumentsAreServed(t *testing.T) {
	h := newHarness(t)
	if a := h.call("GET", "/openapi.json", "").want(200); string(a.body) != string(docs.OpenAPI) {
		t.Error("openapi.json is not the embedded one")
	}
	for _, from := range []string{"/swagger", "/docs", "/docs/"} {
		if a := h.call("GET", from, "").want(301); a.header.Get("Location") != "/swagger/" {
			t.Errorf("%s leads to %q, want /swagger/", from, a.header.Get("Location"))
		}
	}
	page := h.call("GET", "/swagger/", "").want(200)
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'; script-src 'self';") {
		t.Errorf("CSP %q, want own scripts only", csp)
	}
	if !strings.Contains(string(page.body), "longwire connect --id demo") {
		t.Error("the page does not tell how to start a device")
	}
	for _, file := range []string{"swagger-ui-bundle.js", "swagger-ui.css", "init.js", "page.css", "LICENSE"} {
		a := h.call("GET", "/swagger/"+file, "", "Accept-Encoding", "gzip, br").want(200)
		if len(a.body) == 0 || a.header.Get("Content-Type") != swaggerTypes[file] {
			t.Errorf("%s: %d bytes of %s", file, len(a.body), a.header.Get("Content-Type"))
		}
	}
	if a := h.call("GET", "/swagger/swagger-ui.css", "").want(200); !strings.HasPrefix(string(a.body), ".swagger-ui") {
		t.Errorf("without gzip: %.40q, want the plain file", a.body)
	}
	index := decode[struct {
		Name, Version string
		URLs          map[string]string
		TryFirst      string `json:"try_first"`
	}](h.call("GET", "/", "").want(200))
	for name, url := range index.URLs {
		if name == "metrics" || name == "events" {
			continue // not configured here; does not end
		}
		if a := h.call("GET", url, ""); a.status != 200 {
			t.Errorf("the index names %s, which answers %d", url, a.status)
		}
	}
}

// A misspelt parameter is refused by each call, and not passed over.
func TestNoCallPassesOverAParameter(t *testing.T) {
	h := newHarness(t)
	h.call("POST", "/v1/clients", `{"id":"7"}`)
	for _, e := range newServer(Config{}).endpoints() {
		if e.need == public || e.pattern == "/metrics" {
			continue
		}
		target := regexp.MustCompile(`{\w+}`).ReplaceAllString(e.pattern, "7") + "?nonsense=1"
		body := ""
		if e.takesBody() {
			body = "{}"
		}
		if got := h.call(e.method, target, body); got.status != http.StatusBadRequest {
			t.Errorf("%s %s: %d, want 400", e.method, target, got.status)
		}
	}
}
