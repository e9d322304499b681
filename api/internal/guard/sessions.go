package guard

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
)

const (
	// ConsoleHeader makes a cookie count. A page of another origin cannot send it: the
	// browser would ask first, and the answer to a preflight does not list it.
	ConsoleHeader = "Longwire-Console"
	consoleValue  = "1"

	// SessionLife is how long a cookie counts. It is not prolonged.
	SessionLife = 12 * time.Hour

	// maxCookies bounds the cookies of one name that a request is judged by. A page on
	// another port of the host may have set one, too.
	maxCookies = 4
)

// Sessions makes and checks the cookies that browsers use in place of an API key. Nothing
// is stored: a cookie has the id of its key, its end, and a MAC under a secret that is
// derived from the key. So it ends with the key, and a restart changes nothing.
type Sessions struct {
	keys *Keys
	name string
}

// NewSessions returns the sessions of keys. Cookies do not depend on the port, so instance
// is in their names: several gateways on one host have a cookie each.
func NewSessions(keys *Keys, instance string) *Sessions {
	return &Sessions{keys: keys, name: "longwire_" + instance}
}

// Session is the right that a cookie gives. The zero value is none.
type Session struct {
	Key   *apikey.Key
	Until time.Time // the key may end before
}

// cookieName returns the name of the cookie. Over TLS a browser takes a __Host- name only
// from this host, with Secure and without a domain.
func (s *Sessions) cookieName(secure bool) string {
	if secure {
		return "__Host-" + s.name
	}
	return s.name
}

// Open returns a cookie for key and its end: SessionLife from now, or the key's own end if
// that is earlier.
func (s *Sessions) Open(key *apikey.Key, secure bool, now time.Time) (*http.Cookie, time.Time) {
	until := now.Add(SessionLife).Truncate(time.Second)
	if !key.ExpiresAt.IsZero() && key.ExpiresAt.Before(until) {
		until = key.ExpiresAt
	}
	end := strconv.FormatInt(until.Unix(), 10)
	c := s.cookie(secure, strings.Join([]string{key.ID, end, s.mac(key, end)}, "."))
	c.MaxAge = max(1, int(until.Sub(now)/time.Second))
	return c, until
}

// Cleared returns the cookie that makes a browser forget its session.
func (s *Sessions) Cleared(secure bool) *http.Cookie {
	c := s.cookie(secure, "")
	c.MaxAge = -1
	return c
}

func (s *Sessions) cookie(secure bool, value string) *http.Cookie {
	return &http.Cookie{Name: s.cookieName(secure), Value: value, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
}

// mac returns the proof that a cookie of this gateway was made for key.
func (s *Sessions) mac(key *apikey.Key, end string) string {
	secret := key.Derive("console session")
	m := hmac.New(sha256.New, secret[:])
	m.Write([]byte(s.name + "." + key.ID + "." + end))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Of returns the session of a request. It returns the zero Session if the request has a
// key, no cookie, or no ConsoleHeader, if it comes from a page of another origin, and while
// no key is required. It returns an error if the cookie has ended or is not one of ours.
func (s *Sessions) Of(r *http.Request, secure bool, now time.Time) (Session, error) {
	if v := r.Header[ConsoleHeader]; len(v) != 1 || v[0] != consoleValue {
		return Session{}, nil
	}
	cookies := r.CookiesNamed(s.cookieName(secure))
	if _, shown, _ := presentedKey(r); shown > 0 || len(cookies) == 0 || !s.keys.keyset.Required() || !OwnPage(r, secure) {
		return Session{}, nil
	}
	slowed := s.keys.failures.check(r.RemoteAddr, now)
	guessed := false
	for _, c := range cookies[:min(len(cookies), maxCookies)] {
		session, genuine := s.read(c.Value)
		switch {
		case session.Key == nil:
		case slowed != nil && (!genuine || session.Key.Guessable()):
			return Session{}, slowed
		case !genuine:
			guessed = true
		case now.Before(session.Until) && session.Key.Alive(now):
			session.Key.Touch(now)
			return session, nil
		}
	}
	if guessed {
		s.keys.failures.note(r.RemoteAddr, now)
	}
	return Session{}, problem.New(problem.Unauthenticated, "the session has ended: start one with the API key, by POST /v1/session")
}

// read takes a cookie's value apart. The session has no key if there is none with the id;
// genuine is false if the cookie was not made for that key.
func (s *Sessions) read(value string) (session Session, genuine bool) {
	rest, mac := cutLast(value)
	id, end := cutLast(rest)
	unix, err := strconv.ParseInt(end, 10, 64)
	if err != nil {
		return Session{}, false
	}
	session = Session{Key: s.keys.keyset.ByID(id), Until: time.Unix(unix, 0)}
	return session, session.Key != nil && hmac.Equal([]byte(mac), []byte(s.mac(session.Key, end)))
}

// cutLast cuts a value at its last dot. The ids of keys, which a file may name, can have some.
func cutLast(s string) (before, after string) {
	i := strings.LastIndexByte(s, '.')
	return s[:max(i, 0)], s[i+1:]
}

// OwnPage reports whether a request comes from a page of this server, or from no page. A
// listed origin is another one, and so is another port of this host.
func OwnPage(r *http.Request, secure bool) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host) && (u.Scheme == "https" || !secure)
}
