package api

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/console"
)

// consoleCSP lets the console run and draw its own files only, and call this server
// only. Scripts may not make markup from text: what makes elements is one policy of the
// framework's runtime.
const consoleCSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html"

// consoleTypes are the types of the console's files, by the end of their names.
var consoleTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// staticFile is a file in memory, as it is sent: compressed to callers that take gzip,
// unless gzip is nil. No key is needed for it, so an answer must cost nothing more.
type staticFile struct {
	contentType string
	plain, gzip []byte
}

// answer sends the file. The caller has set the other headers.
func (f *staticFile) answer(w http.ResponseWriter, r *http.Request) error {
	body := f.plain
	if f.gzip != nil {
		w.Header().Add("Vary", "Accept-Encoding")
		if asksFor(r, "Accept-Encoding", "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			body = f.gzip
		}
	}
	return serveStatic(w, f.contentType, body)
}

// consoleFiles reads and compresses the console's files once, when the first is asked for.
var consoleFiles = sync.OnceValue(func() map[string]staticFile {
	files := map[string]staticFile{}
	err := fs.WalkDir(console.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		contentType, known := consoleTypes[path.Ext(name)]
		if err != nil || entry.IsDir() || !known {
			return err
		}
		plain, err := fs.ReadFile(console.Files, name)
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is valid
		w.Write(plain)                                             // into memory: no error
		w.Close()
		files[name] = staticFile{contentType, plain, packed.Bytes()}
		return nil
	})
	if err != nil {
		panic(err) // the files are in the binary
	}
	return files
})

// console sends one of the console's files. Names under assets change with the content,
// so a browser keeps them; the page itself is asked for each time.
func (s *server) console(w http.ResponseWriter, r *http.Request) error {
	name := chi.URLParam(r, "*")
	if name == "" {
		name = "index.html"
	}
	file, ok := consoleFiles()[name]
	if !ok {
		return problem.New(problem.RouteNotFound, "there is no /console/%s", name)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", consoleCSP)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.TLS != nil { // on plain HTTP browsers take no notice, and complain
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, "assets/") {
		h.Set("Cache-Control", "max-age=31536000, immutable")
	}
	return file.answer(w, r)
}

// toConsole leads to the console by a relative address, which holds below any path of a
// proxy.
func toConsole(relative string) handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Location", relative)
		w.WriteHeader(http.StatusFound)
		return nil
	}
}

// wantsPage reports whether the caller is a browser that opens a page.
func wantsPage(r *http.Request) bool {
	return asksFor(r, "Accept", "text/html")
}
