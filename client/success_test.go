package client_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/longwire/longwire/client"
)

// A proxy that redirects to HTTPS makes a GET of every other method. The answer to that GET
// is a gateway's success, but nothing was done.
func TestRedirectThatChangesTheMethodIsNoSuccess(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"id":"x","items":[]}`))
	}))
	defer gateway.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther} {
		c := clientOf(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, gateway.URL+r.URL.Path, status) })
		_, err := c.Push(t.Context(), "truck", client.Push{Payload: client.Text("lock")})
		for call, err := range map[string]error{"a push": err, "a removal": c.Forget(t.Context(), "truck")} {
			if err == nil || !strings.Contains(err.Error(), gateway.URL) {
				t.Errorf("%s through a redirect with %d: error %v, want one that names %s", call, status, err, gateway.URL)
			}
		}
		if _, err := c.Client(t.Context(), "truck"); err != nil {
			t.Errorf("a read through a redirect with %d: %v", status, err)
		}
	}
}

// A redirect to http at the same host would take the key along.
func TestKeyIsNotSentInTheClearAfterARedirect(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a request in the clear with the key %q", r.Header.Get("Authorization"))
		w.Write([]byte(`{}`))
	}))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusMovedPermanently)
	}))
	defer secure.Close()
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	c, err := client.New(secure.URL, client.WithRootCAs(pool), client.WithAPIKey("lwk_secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client(t.Context(), "truck"); err == nil || !strings.Contains(err.Error(), "a redirect from https to http://") {
		t.Errorf("error %v, want one that names the redirect", err)
	}
}

// A server that answers every path with 200 and its page is no gateway: nothing was done.
func TestPageIsNoSuccess(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte("<!doctype html><title>Sign in</title>"))
	})
	if err := c.Forget(t.Context(), "truck"); err == nil {
		t.Error("a removal that was answered with a page has no error")
	}
	if err := c.Ready(t.Context()); err == nil {
		t.Error("a server that answers with a page is ready")
	}
}

// Each accepted message has an id, and each list its entries.
func TestAnswerWithoutContentIsNoSuccess(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"status":"ok"}`))
	})
	if m, err := c.Push(t.Context(), "truck", client.Push{Payload: client.Text("lock")}); err == nil {
		t.Errorf("message %q with the status %q, want an error", m.ID, m.Status)
	}
	if all, err := c.Findings(t.Context()); err == nil {
		t.Errorf("%d findings, want an error", len(all))
	}
	for one, err := range c.Clients(t.Context(), client.ClientQuery{}) {
		if err == nil {
			t.Errorf("client %q, want an error", one.ID)
		}
		return
	}
	t.Error("no client, want an error")
}

func clientOf(t *testing.T, answer http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c, err := client.New(s.URL, client.WithRetry(client.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
