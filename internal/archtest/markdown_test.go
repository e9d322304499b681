package archtest

import (
	"regexp"
	"slices"
	"strings"
)

// pageWidth is the widest line of a page in columns. A Chinese character takes two.
const pageWidth = 120

// page is a Markdown page, line by line.
type page struct {
	prose    []string // one entry for each line of the page; "" for code
	headings []string
	rows     []string // of tables, without the lines that separate heads
	code     []string // commands without comments; diagrams are left out
}

var (
	separatorRow = regexp.MustCompile(`^\|[-:| ]+$`)
	shellComment = regexp.MustCompile(`(^|\s+)#.*$`)
	listItem     = regexp.MustCompile(`^\s*([-*]|\d+\.)\s`)
)

// readPage divides a page into prose and code. An indented line is code if it does
// not continue a list.
func readPage(text string) page {
	var p page
	fence, list := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		code := true
		switch {
		case strings.HasPrefix(line, "```"):
			if fence == "" {
				fence = line
			} else {
				fence = ""
			}
		case fence != "" || strings.HasPrefix(line, "    ") && !list:
			if line := shellComment.ReplaceAllString(line, ""); line != "" && fence != "```text" {
				p.code = append(p.code, line)
			}
		default:
			code = false
			if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, " ") {
				list = listItem.MatchString(line)
			}
		}
		if code {
			line = ""
		}
		p.prose = append(p.prose, line)
		switch {
		case strings.HasPrefix(line, "#"):
			p.headings = append(p.headings, line)
		case strings.HasPrefix(line, "|") && !separatorRow.MatchString(line):
			p.rows = append(p.rows, line)
		}
	}
	return p
}

// columns is the width of a line on a screen.
func columns(line string) (n int) {
	for _, r := range line {
		if n++; r >= 0x2e80 {
			n++
		}
	}
	return n
}

// unbroken is text without a place to break a line: code, a link, a heading.
var unbroken = regexp.MustCompile("`[^`]*`|!?\\[[^\\]]*\\]\\([^)]*\\)|^#+ .*|^\\s*([-*]|\\d+\\.) ")

// tooWide reports whether a line of prose is wider than a page and can be broken.
func tooWide(line string) bool {
	if columns(line) <= pageWidth || strings.HasPrefix(line, "|") {
		return false
	}
	rest := strings.TrimSpace(unbroken.ReplaceAllString(line, "x"))
	return strings.ContainsAny(rest, " ，。；：、")
}

var (
	inlineCode = regexp.MustCompile("`[^`]+`")
	// named is text of others: code, the target and the test of a link, the name of a behaviour.
	named = regexp.MustCompile("`[^`]+`|\\[Test\\w+\\]|\\]\\([^)]*\\)|\\b_[^|_]+_")
)

// wordingOf counts the lines of prose and those with a mark, and calls found for these.
func (p *page) wordingOf(found func(line string, m *mark)) (w wording) {
	for _, line := range p.prose {
		if strings.TrimSpace(line) == "" {
			continue
		}
		w.lines++
		if m := findMark(named.ReplaceAllString(line, "")); m != nil {
			w.marked++
			found(line, m)
		}
	}
	return w
}

var (
	target = regexp.MustCompile(`\]\([^)]*\)`)
	number = regexp.MustCompile(`[0-9](?:[0-9,]*[0-9])?(?:\.[0-9]+)?`)
)

// numbers returns the numbers of each section, in order of size, without those in code
// and in links. A section begins with its heading.
func (p *page) numbers() (sections []string) {
	section := ""
	for _, line := range append(p.prose, "#") {
		if strings.HasPrefix(line, "#") {
			text := inlineCode.ReplaceAllString(target.ReplaceAllString(section, "]"), "")
			list := number.FindAllString(text, -1)
			slices.Sort(list)
			sections = append(sections, strings.Join(list, " "))
			section = ""
		}
		section += line + "\n"
	}
	return sections
}

const numberPart = "number of a section"

// beyond returns the words of a that b does not have as often.
func beyond(a, b string) string {
	rest := strings.Fields(b)
	return strings.Join(slices.DeleteFunc(strings.Fields(a), func(word string) bool {
		i := slices.Index(rest, word)
		if i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		}
		return i >= 0
	}), " ")
}

// differences compares a page with its translation: the levels of headings, the
// commands, in each row of a table the words in code, and the numbers of each section.
func differences(p, translation page) (list []string) {
	level := func(heading string) string { return heading[:strings.IndexByte(heading, ' ')] }
	codes := func(row string) string {
		words := inlineCode.FindAllString(row, -1)
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	same := func(line string) string { return strings.TrimSpace(line) }
	for _, part := range []struct {
		what   string
		a, b   []string
		reduce func(string) string
	}{
		{"heading", p.headings, translation.headings, level},
		{"line of code", p.code, translation.code, same},
		{"row", p.rows, translation.rows, codes},
		{numberPart, p.numbers(), translation.numbers(), same},
	} {
		for i := range max(len(part.a), len(part.b)) {
			switch {
			case i >= len(part.b):
				list = append(list, "no "+part.what+" for "+part.a[i])
			case i >= len(part.a):
				list = append(list, "a "+part.what+" too many: "+part.b[i])
			case part.reduce(part.a[i]) != part.reduce(part.b[i]):
				a, b := part.a[i], part.b[i]
				if part.what == numberPart {
					a, b = beyond(a, b), beyond(b, a)
				}
				list = append(list, part.what+": "+a+" and "+b)
			default:
				continue
			}
			break // the ones after it are shifted
		}
	}
	return list
}
