package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/console"
)

// Browsers that open the address of the gateway come to the console, by an address that
// holds below the path of a proxy; programs get the entry points as before.
func TestBrowsersComeToTheConsole(t *testing.T) {
	h := newHarness(t)
	a := h.call("GET", "/", "", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8").want(302)
	if got := a.header.Get("Location"); got != "console/" || a.header.Get("Vary") != "Accept" {
		t.Errorf("a browser is led to %q, Vary %q", got, a.header.Get("Vary"))
	}
	if a := h.call("GET", "/console", "").want(302); a.header.Get("Location") != "console/" {
		t.Errorf("/console leads to %q", a.header.Get("Location"))
	}
	for _, accept := range []string{"*/*", "application/json", ""} {
		if a := h.call("GET", "/", "", "Accept", accept).want(200); !strings.Contains(string(a.body), `"console":"/console/"`) {
			t.Errorf("Accept %q: %s", accept, a.body)
		}
	}
}

// Every file of the console is served with its type, in both codings, and every file that
// the page names is there.
func TestTheConsoleIsServed(t *testing.T) {
	h := newHarness(t)
	page := string(h.call("GET", "/console/", "").want(200).body)
	named := regexp.MustCompile(`(?:src|href)="\./([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(named) < 4 {
		t.Fatalf("the page names %d files, want its script, style, theme and icon:\n%s", len(named), page)
	}
	for _, m := range named {
		h.call("GET", "/console/"+m[1], "").want(200)
	}
	err := fs.WalkDir(console.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		want, err := fs.ReadFile(console.Files, name)
		if err != nil {
			return err
		}
		plain := h.call("GET", "/console/"+name, "").want(200)
		packed := h.call("GET", "/console/"+name, "", "Accept-Encoding", "gzip, br").want(200)
		r, err := gzip.NewReader(bytes.NewReader(packed.body))
		if err != nil {
			return err
		}
		unpacked, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if !bytes.Equal(plain.body, want) || !bytes.Equal(unpacked, want) {
			t.Errorf("%s is not the embedded file", name)
		}
		if got := plain.header.Get("Content-Type"); got == "" || got != consoleTypes[path.Ext(name)] {
			t.Errorf("%s has the type %q", name, got)
		}
		kept := strings.HasPrefix(name, "assets/")
		if got := plain.header.Get("Cache-Control"); kept != strings.Contains(got, "immutable") {
			t.Errorf("%s: Cache-Control %q", name, got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/console/none.js", "/console/assets/", "/console/../go.mod", "/console/%2e%2e/console.go", "/console/src/main.ts"} {
		h.call("GET", target, "").wantProblem(http.StatusNotFound, problem.RouteNotFound)
	}
}

// counting is a caller of which only the number of bytes is kept.
type counting struct {
	header http.Header
	bytes  int
}

func (c *counting) Header() http.Header         { return c.header }
func (c *counting) WriteHeader(int)             {}
func (c *counting) Write(b []byte) (int, error) { c.bytes += len(b); return len(b), nil }

// TestPagesWithoutAKeyAreCheap: a file is not unpacked or copied for each caller that asks
// for it.
func TestPagesWithoutAKeyAreCheap(t *testing.T) {
	h := newHarness(t)
	for _, target := range []string{"/swagger/swagger-ui-bundle.js", "/swagger/index.html", "/console/", "/openapi.json"} {
		for _, coding := range []string{"gzip", "identity"} {
			ask := func() (sent int) {
				r := httptest.NewRequest("GET", target, nil)
				r.Host = "localhost"
				r.Header.Set("Accept-Encoding", coding)
				w := &counting{header: http.Header{}}
				h.handler.ServeHTTP(w, r)
				return w.bytes
			}
			if ask() == 0 {
				t.Errorf("%s is empty", target)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 10 {
				ask()
			}
			runtime.ReadMemStats(&after)
			if each := (after.TotalAlloc - before.TotalAlloc) / 10; each > 32<<10 {
				t.Errorf("%s as %s takes %d bytes of memory for each caller", target, coding, each)
			}
		}
	}
}
