package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/docs"
)

// swaggerCSP lets the page run its own scripts only. Swagger UI sets style
// attributes, and draws its icons from data URLs.
const swaggerCSP = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// swaggerTypes are the types of the page's files.
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

// swaggerFiles reads the page's files once, when the first is asked for. Large ones are
// stored compressed.
var swaggerFiles = sync.OnceValue(func() map[string]staticFile {
	files := map[string]staticFile{}
	for name, contentType := range swaggerTypes {
		f := staticFile{contentType: contentType}
		var err error
		if f.plain, err = docs.SwaggerUI.ReadFile("swaggerui/" + name); err != nil {
			f.gzip, f.plain, err = packed("swaggerui/" + name + ".gz")
		}
		if err != nil {
			panic(err) // the files are in the binary
		}
		files[name] = f
	}
	return files
})

// packed returns a compressed file and its content.
func packed(name string) (data, plain []byte, err error) {
	if data, err = docs.SwaggerUI.ReadFile(name); err != nil {
		return nil, nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err == nil {
		plain, err = io.ReadAll(r)
	}
	return data, plain, err
}

func (s *server) swaggerPage(w http.ResponseWriter, r *http.Request) error {
	return s.swagger(w, r, "index.html")
}

func (s *server) swaggerFile(w http.ResponseWriter, r *http.Request) error {
	return s.swagger(w, r, pathParam(r, "file"))
}

func (s *server) swagger(w http.ResponseWriter, r *http.Request, name string) error {
	file, ok := swaggerFiles()[name]
	if !ok {
		return problem.New(problem.RouteNotFound, "there is no /swagger/%s", name)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", swaggerCSP)
	h.Set("Cache-Control", "max-age=3600")
	return file.answer(w, r)
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
