package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// eachPage calls do for every Markdown page of the module, with its path from the
// module's directory.
func eachPage(t *testing.T, do func(path string, p page)) {
	t.Helper()
	pages := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(name) != ".md":
			return nil
		}
		path, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		pages++
		do(filepath.ToSlash(path), openPage(t, name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages < 20 {
		t.Fatalf("%d pages read: the module is not where the test looks", pages)
	}
}

func openPage(t *testing.T, name string) page {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return readPage(string(b))
}

// TestPagesArePlain keeps the pages in plain English, by the marks and bounds of comments.
// Set LONGWIRE_WORDS to a page's path to see its marked lines.
func TestPagesArePlain(t *testing.T) {
	var all wording
	show := os.Getenv("LONGWIRE_WORDS")
	eachPage(t, func(path string, p page) {
		w := p.wordingOf(func(line string, m *mark) {
			if path == show {
				t.Logf("%s (%s)", line, m.cure)
			}
		})
		if !w.fits() {
			t.Errorf("%s: %d of %d lines are marked, at most %.0f %% or %d lines may be; to see them: LONGWIRE_WORDS=%s go test ./internal/archtest -run Plain -v",
				path, w.marked, w.lines, 100*packageShare, packageLines, path)
		}
		all.lines, all.marked = all.lines+w.lines, all.marked+w.marked
	})
	if share := float64(all.marked) / float64(all.lines); share > totalShare {
		t.Errorf("%.1f %% of %d lines of pages are marked, at most %.0f %% may be", 100*share, all.lines, 100*totalShare)
	}
}

// TestPagesAreWrapped keeps the lines of pages within a screen. Tables, code and lines
// without a place to break are left out.
func TestPagesAreWrapped(t *testing.T) {
	eachPage(t, func(path string, p page) {
		for i, line := range p.prose {
			if tooWide(line) {
				t.Errorf("%s:%d has %d columns, at most %d", path, i+1, columns(line), pageWidth)
			}
		}
	})
}

// TestChinesePagesAreInStep compares each page that README.zh-CN.md has in Chinese with
// its original. The table of metrics is generated and in English only.
func TestChinesePagesAreInStep(t *testing.T) {
	const guides = "docs/guide"
	originals := map[string]string{"README.zh-CN.md": "README.md"}
	translations, err := filepath.Glob(filepath.Join(root, guides, "zh-CN", "*.md"))
	if err != nil || len(translations) < 10 {
		t.Fatalf("%d guides in Chinese, %v", len(translations), err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.zh-CN.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range translations {
		base := filepath.Base(name)
		if !strings.Contains(string(readme), "("+guides+"/zh-CN/"+base+")") {
			t.Errorf("README.zh-CN.md does not link to %s", base)
		}
		originals[guides+"/zh-CN/"+base] = guides + "/" + base
	}
	if strings.Contains(string(readme), "("+guides+"/") && strings.Count(string(readme), "("+guides+"/") != strings.Count(string(readme), "("+guides+"/zh-CN/") {
		t.Error("README.zh-CN.md links to a guide in English")
	}
	for translation, original := range originals {
		p := openPage(t, filepath.Join(root, original))
		if filepath.Base(original) == "metrics.md" {
			p.rows = nil
			p.prose = slices.DeleteFunc(p.prose, func(line string) bool { return strings.HasPrefix(line, "|") })
		}
		for _, d := range differences(p, openPage(t, filepath.Join(root, translation))) {
			t.Errorf("%s is not in step with %s: %s", translation, original, d)
		}
	}
}

// TestBoldEnds finds ** between Chinese punctuation and a word, which Markdown shows as it is.
func TestBoldEnds(t *testing.T) {
	shown := regexp.MustCompile("\\*\\*[^*]+[，。；：、！？）]\\*\\*[\\p{L}\\p{N}`]")
	eachPage(t, func(path string, p page) {
		for i, line := range p.prose {
			if shown.MatchString(line) {
				t.Errorf("%s:%d: a space is missing after **", path, i+1)
			}
		}
	})
}

func TestReadPage(t *testing.T) {
	p := readPage("# Title\n\nSome prose.\n\n    indented code # why\n\n- an item\n\n      its second paragraph\n\n" +
		"```sh\n# a comment\nls   # what it lists\n```\n\n```text\na diagram\n```\n\n| a | b |\n|---|---|\n| `x` | y |\n")
	want := page{
		prose:    []string{"# Title"},
		headings: []string{"# Title"},
		code:     []string{"    indented code", "ls"},
		rows:     []string{"| a | b |", "| `x` | y |"},
	}
	for _, d := range differences(want, p) {
		t.Error(d)
	}
	if got := p.wordingOf(func(line string, _ *mark) { t.Errorf("%q is marked", line) }); got.lines != 7 {
		t.Errorf("%d lines of prose, want 7", got.lines)
	}
}

func TestTooWide(t *testing.T) {
	long := strings.Repeat("word ", 30)
	for line, want := range map[string]bool{
		long:                        true,
		"| " + long + "|":           false,
		"# " + long:                 false,
		"- `" + long + "`":          false,
		"[" + long + "](page.md)":   false,
		strings.Repeat("word ", 24): false,
		strings.Repeat("字", 60):     false,
		strings.Repeat("字", 60) + "，以及其他": true,
		strings.Repeat("字", 70):           false,
	} {
		if got := tooWide(line); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

func TestDifferences(t *testing.T) {
	original := "# A\n\n## B\n\n| `x` | words |\n\n```sh\nls # here\n```\n"
	for _, c := range []struct {
		translation string
		differences int
	}{
		{"# 甲\n\n## 乙\n\n| `x` | 词 |\n\n```sh\nls # 这里\n```\n", 0},
		{"# 甲\n\n### 乙\n\n| `x` | 词 |\n\n```sh\nls\n```\n", 1},
		{"# 甲\n\n## 乙\n\n| `y` | 词 |\n\n```sh\nls -l\n```\n", 2},
		{"# 甲\n\n```sh\nls\nls\n```\n", 4},
		{"# 甲\n\n3 个\n\n## 乙\n\n| `x` | 词 |\n\n```sh\nls # 9\n```\n", 1},
	} {
		if got := differences(readPage(original), readPage(c.translation)); len(got) != c.differences {
			t.Errorf("%q: %q, want %d", c.translation, got, c.differences)
		}
	}
}
