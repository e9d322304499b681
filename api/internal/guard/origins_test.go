package guard

import "testing"

const app = "https://app.example"

func TestCheckOrigin(t *testing.T) {
	for _, good := range []string{app, "http://localhost:3000", "https://[::1]:8443", "http://localhost:443", "https://xn--bcher-kva.example"} {
		if err := CheckOrigin(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"*", "https://*", "https://*.example", "app.example", app + "/", app + "/x", "ftp://x", "null", "", "https://App.example", "https://u@app.example",
		app + ":443", app + ":", "http://localhost:80", "https://bücher.example"} { // a browser sends none of these
		if CheckOrigin(bad) == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}
