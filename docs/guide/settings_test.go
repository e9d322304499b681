package guide

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/longwire/longwire/internal/config"
)

// allPages are the pages for people in both languages, and their text.
func allPages(t *testing.T) map[string]string {
	t.Helper()
	all := pages(t)
	for _, pattern := range []string{"zh-CN/*.md", "../../README*.md", "../../examples/*.md", "../../SECURITY.md", "../../ARCHITECTURE.md"} {
		maps.Copy(all, read(t, pattern))
	}
	return all
}

// defaults are the defaults of the settings: numbers, bytes, nanoseconds; absent for
// other kinds.
func defaults(t *testing.T) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for _, r := range config.Rows(config.Default(), config.Provenance{}) {
		switch r.Kind {
		case "int":
			n, err := strconv.ParseInt(r.Default, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			all[r.Key] = n
		case "size":
			n, err := config.ParseSize(r.Default)
			if err != nil {
				t.Fatal(err)
			}
			all[r.Key] = int64(n)
		case "duration":
			d, err := config.ParseDuration(r.Default)
			if err != nil {
				t.Fatal(err)
			}
			all[r.Key] = int64(d)
		}
	}
	return all
}

var (
	amounts    = regexp.MustCompile(`([0-9][0-9,]*(?:\.[0-9]+)?) ?(ms|min|days?|d|hours?|h|seconds?|s|KiB|MiB|GiB|秒|分钟|小时|天)?`)
	setDefault = regexp.MustCompile("`([a-z]+\\.[a-z_]+)` ?[(（]([0-9][0-9,]* ?[A-Za-z秒分钟小时天]*)")
	aSetting   = regexp.MustCompile("`((?:tcp|http|data|delivery|clients|events|webhooks|auth|audit|simulator|drain|log)\\.[a-z_]+)(?:: [^`]*)?`")
	aVariable  = regexp.MustCompile(`LONGWIRE_[A-Z0-9_]+`)
)

// amountsIn returns the amounts that a text names.
func amountsIn(text string) (list []int64) {
	words := strings.NewReplacer("days", "d", "day", "d", "天", "d", "hours", "h", "hour", "h", "小时", "h", "分钟", "min", "seconds", "s", "second", "s", "秒", "s")
	for _, m := range amounts.FindAllStringSubmatch(text, -1) {
		list = append(list, amount(strings.TrimSpace(m[1]+" "+words.Replace(m[2]))))
	}
	return list
}

// A page that gives a setting's default behind its name gives the right one, and each row
// of the limits has the defaults of its settings.
func TestDefaultsAreTheSettings(t *testing.T) {
	want, given := defaults(t), 0
	for page, text := range allPages(t) {
		for _, m := range setDefault.FindAllStringSubmatch(strings.ReplaceAll(text, "\n", " "), -1) {
			if n, ok := want[m[1]]; ok {
				given++
				if got := amountsIn(m[2])[0]; got != n {
					t.Errorf("%s: %s), and the default is %d", page, m[0], n)
				}
			}
		}
	}
	if given < 50 {
		t.Errorf("%d defaults were found, want those of all pages", given)
	}
	for _, page := range []string{"limits.md", "zh-CN/limits.md"} {
		for _, row := range rowsOf(read(t, page)[page], 7) {
			told := amountsIn(strings.Join(row[1:4], " "))
			for _, key := range names(row[6]) {
				if n := want[key]; n != 0 && !slices.Contains(told, n) {
					t.Errorf("%s:%s: the row does not have %d, the default of %s", page, row[0], n, key)
				}
			}
		}
	}
}

// Settings and variables of the environment that a page names exist.
func TestSettingsExist(t *testing.T) {
	known := map[string]bool{
		"LONGWIRE_API_KEY": true, "LONGWIRE_API_KEY_FILE": true, "LONGWIRE_SERVER": true, "LONGWIRE_CA_FILE": true, "LONGWIRE_CONFIG": true, "LONGWIRE_TORTURE": true, // of the commands, and of the tests
		"LONGWIRE_EVENT_ID": true, "LONGWIRE_EVENT_TYPE": true, "LONGWIRE_EVENT_CLIENT": true, "LONGWIRE_EVENT_TIME": true, "LONGWIRE_EVENT_SEQUENCE": true,
	}
	for _, r := range config.Rows(config.Default(), config.Provenance{}) {
		known[r.Key], known[r.Env] = true, true
		if strings.Contains(r.Env, "_KEYS") || strings.HasSuffix(r.Env, "_TOKEN") || strings.HasSuffix(r.Env, "_SECRET") {
			known[r.Env+"_FILE"] = true
		}
	}
	for page, text := range allPages(t) {
		for _, m := range aSetting.FindAllStringSubmatch(text, -1) {
			if !known[m[1]] && !strings.HasSuffix(m[1], ".go") {
				t.Errorf("%s names the setting %s, which does not exist", page, m[1])
			}
		}
		for _, name := range aVariable.FindAllString(text, -1) {
			if !known[name] {
				t.Errorf("%s names the variable %s, which does not exist", page, name)
			}
		}
	}
}
