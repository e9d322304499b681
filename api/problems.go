package api

import (
	"html/template"
	"net/http"

	"github.com/longwire/longwire/api/internal/problem"
)

// ProblemTypes returns the type of every problem, in order.
func ProblemTypes() []string {
	var types []string
	for _, page := range problem.Pages() {
		types = append(types, page.Type)
	}
	return types
}

// problemPage explains one problem type, as HTML to a browser, else as JSON.
func (s *server) problemPage(w http.ResponseWriter, r *http.Request) error {
	name := problem.Kind(pathParam(r, "slug"))
	page, ok := problem.PageOf(name)
	if !ok {
		return problem.New(problem.RouteNotFound, "there is no problem type %q", name)
	}
	if !wantsPage(r) {
		return writeJSON(w, http.StatusOK, page)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return problemHTML.Execute(w, page)
}

func (s *server) problemIndex(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{"items": problem.Pages()})
}

var problemHTML = template.Must(template.New("problem").Parse(
	`<!doctype html><html lang="en"><meta charset="utf-8"><title>{{.Title}}</title>` +
		`<h1>{{.Title}}</h1><p>HTTP {{.Status}}, <code>{{.Type}}</code></p><p>{{.Help}}</p></html>
`))
