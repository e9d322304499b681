package app

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestARegistrationWithoutAValidIDIsListed: by its address, in each dialect, with what stood
// in the place of the id, but no token.
func TestARegistrationWithoutAValidIDIsListed(t *testing.T) {
	t.Parallel()
	frame := func(body string) string { return "\x01\x02" + string(rune(len(body))) + body }
	for name, c := range map[string]struct{ say, reason, sample string }{
		"text":               {"REGISTER meter/7 s3cret\n", "bad_client_id", "meter/7"},
		"text without an id": {"REGISTER\n", "bad_client_id", ""},
		"text, bad token":    {"REGISTER meter-7 s3c\x01ret\n", "bad_register", "meter-7"},
		"text, id not UTF-8": {"register m\xe9ter-7 s3cret\n", "bad_client_id", `m\xe9ter-7`},
		"text, no UTF-8":     {"REGISTER meter-7 s3cr\xe9t\n", "bad_register", "meter-7"},
		"text, option":       {"REGISTER meter-7 - \xe9\n", "bad_register", "meter-7"},
		"v1, bytes":          {"\x01#me\x1bter\xff", "bad_client_id", `me\x1bter\xff`},
		"v1, token":          {"\x01#meter-7 s3cret", "bad_client_id", "meter-7 "},
		"v2":                 {frame(`{"id":"<b>é\u202e` + strings.Repeat("x", 60) + `"}`), "bad_client_id", `<b>\u00e9\u202e` + strings.Repeat("x", 24) + "..."},
		"v2, labels":         {frame(`{"id":"meter-7","labels":{"a/b":""}}`), "bad_register", "meter-7"},
		"v2, no JSON":        {frame(`{"id`), "bad_register", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := &troubled{T: t, cfg: testConfig(t.TempDir())}
			g.start()
			nc, err := net.Dial("tcp", g.TCPAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			io.WriteString(nc, c.say)
			nc.Read(make([]byte, 100))
			waitFor(t, func() bool { return len(g.gw.Unnamed()) > 0 }) // the answer may come before the note
			res, err := http.Get("http://" + g.HTTPAddr().String() + "/v1/refused")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var page struct {
				Items   []any
				Unnamed []struct {
					Remote_Addr, Reason, Sample string
					Count                       int
				}
			}
			body, _ := io.ReadAll(res.Body)
			if err := json.Unmarshal(body, &page); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(body), "s3cret") {
				t.Errorf("the token is shown: %s", body)
			}
			if len(page.Items) != 0 || len(page.Unnamed) != 1 {
				t.Fatalf("listed: %s; want one registration without a name", body)
			}
			u := page.Unnamed[0]
			if u.Remote_Addr != nc.LocalAddr().String() || u.Reason != c.reason || u.Count != 1 || u.Sample != c.sample {
				t.Errorf("listed: %+v; want %q with the reason %s", u, c.sample, c.reason)
			}
		})
	}
}
