package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/docs"
)

// swaggerCSP lets the page run its own scripts only. Swagger UI sets style
// attributes, and draws its icons from data URLs.
const swaggerCSP = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// swaggerTypes are the types of the page's files. Large files are stored compressed,
// and are sent compressed to a caller that accepts gzip.
var swaggerTypes = map[string]string{
	"index.html":           "text/html; charset=utf-8",
	"init.js":              "text/javascript; charset=utf-8",
	"page.css":             "text/css; charset=utf-8",
	"swagger-ui-bundle.js": "text/javascript; charset=utf-8",
	"swagger-ui.css":       "text/css; charset=utf-8",
	"LICENSE":              "text/plain; charset=utf-8",
	"LICENSE-bundled":      "text/plain; charset=utf-8",
	"NOTICE":               "text/plain; charset=utf-8",
}

func (s *server) swaggerPage(w http.ResponseWriter, r *http.Request) error {
	return s.swagger(w, r, "index.html")
}

func (s *server) swaggerFile(w http.ResponseWriter, r *http.Request) error {
	return s.swagger(w, r, pathParam(r, "file"))
}

func (s *server) swagger(w http.ResponseWriter, r *http.Request, name string) error {
	contentType, ok := swaggerTypes[name]
	if !ok {
		return problem.New(problem.RouteNotFound, "there is no /swagger/%s", name)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", swaggerCSP)
	h.Set("Cache-Control", "max-age=3600")
	if data, err := docs.SwaggerUI.ReadFile("swaggerui/" + name); err == nil {
		return serveStatic(w, contentType, data)
	}
	data, err := docs.SwaggerUI.ReadFile("swaggerui/" + name + ".gz")
	if err != nil {
		return err
	}
	h.Add("Vary", "Accept-Encoding")
	if asksFor(r, "Accept-Encoding", "gzip") {
		h.Set("Content-Encoding", "gzip")
		return serveStatic(w, contentType, data)
	}
	plain, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	h.Set("Content-Type", contentType)
	_, err = io.Copy(w, plain)
	return err
}

func serveStatic(w http.ResponseWriter, contentType string, data []byte) error {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(http.StatusOK)
	w.Write(data) // an error means that the reader is gone
	return nil
}

func redirectTo(target string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, target, http.StatusMovedPermanently)
		return nil
	}
}
