package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The pages and the help name commands and flags that exist, and a whole command of a
// page or of the help has arguments that the command takes.
func TestPrintedCommandsExist(t *testing.T) {
	if testing.Short() {
		t.Skip("each command runs alone")
	}
	whole, mentioned := 0, 0
	for place, text := range printed(t) {
		for _, line := range strings.Split(text, "\n") {
			if words := commandOf(line); words != nil {
				whole++
				if complaint := tryCommand(words, true); complaint != "" {
					t.Errorf("%s: %s: %s", place, strings.TrimSpace(line), complaint)
				}
				continue
			}
			for _, m := range mention.FindAllStringSubmatch(line, -1) {
				mentioned++
				if complaint := tryCommand(wordsOf(m[1]), false); complaint != "" {
					t.Errorf("%s: %s: %s", place, m[0], complaint)
				}
			}
		}
	}
	if whole < 100 || mentioned < 100 {
		t.Errorf("%d commands and %d mentions of commands were found, want those of all pages", whole, mentioned)
	}
}

// printed returns the text of each page, and of the help of each command.
func printed(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"README*.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "docs/guide/*.md", "docs/guide/zh-CN/*.md", "examples/*.md", "protocol/*.md"} {
		names, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", pattern, names, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = strings.ReplaceAll(string(b), "\\\n", " ")
		}
	}
	var helped func(cmd *cobra.Command)
	helped = func(cmd *cobra.Command) {
		text := cmd.Long + "\n" + cmd.Example
		cmd.Flags().VisitAll(func(f *pflag.Flag) { text += "\n" + f.Usage })
		all[cmd.CommandPath()+" --help"] = text
		for _, sub := range cmd.Commands() {
			helped(sub)
		}
	}
	helped(newRoot())
	return all
}

func newRoot() *cobra.Command { return newEnviron(Program{}).root(Program{}) }

var (
	// A line that runs longwire: after a prompt, variables, a pipe or a parenthesis.
	running = regexp.MustCompile(`^\s*(?:\$ |sudo |exec |\(|[A-Z_]+=\S+ |export [A-Z_]+=\$\(|[^#]*\| )*(?:go run \./cmd/|\S*/|\./)?longwire ([a-z].*)$`)
	// A command in a sentence.
	mention = regexp.MustCompile("[`\"]longwire ([a-z][^`\"]*)[`\"]")
)

// commandOf returns the words of the longwire command that a line of code runs, or nil.
func commandOf(line string) []string {
	m := running.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	rest, _, _ := strings.Cut(m[1], "   ") // the rest is a remark
	words := wordsOf(rest)
	if sub, _, err := newRoot().Find(words); err != nil && sub.Parent() == nil || words[0] == "dev" { // prose, or what a start prints
		return nil
	}
	return words
}

// wordsOf divides a command as a shell does, up to what ends it.
func wordsOf(line string) (words []string) {
	for _, m := range regexp.MustCompile(`(?:[^\s'"|&;<>#)]|'[^']*'|"[^"]*")+|[|&;<>#)]`).FindAllString(line, -1) {
		if strings.ContainsAny(m[:1], "|&;<>#)") {
			break
		}
		words = append(words, strings.NewReplacer("'", "", `"`, "").Replace(m))
	}
	return words
}

func TestPrintedCommandsThatDoNotExist(t *testing.T) {
	for line, whole := range map[string]bool{
		"    longwire clients ls --nope":                   true,
		"$ ./longwire clients kick":                        true,
		"LONGWIRE_DATA_DIR=x longwire push a b --wait now": true,
		"`longwire clients bogus`":                         false,
		"`longwire clients forget --nope`":                 false,
	} {
		words := commandOf(line)
		if !whole {
			words = wordsOf(mention.FindStringSubmatch(line)[1])
		}
		if words == nil || tryCommand(words, whole) == "" {
			t.Errorf("%s (%q) passes", line, words)
		}
	}
}

// tryCommand returns why no command of longwire has these words, "" if one does. A whole
// command also has arguments and values of flags that it takes.
func tryCommand(words []string, whole bool) string {
	cmd, args, err := newRoot().Find(words)
	if err != nil {
		return err.Error()
	}
	if !whole {
		for _, w := range args {
			if name, ok := strings.CutPrefix(w, "--"); ok && cmd.Flag(strings.Split(name, "=")[0]) == nil && name != "help" {
				return "there is no flag " + w
			}
		}
		if cmd.HasSubCommands() && len(args) > 0 && slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == args[0] }) < 0 && !strings.HasPrefix(args[0], "-") {
			return "there is no command " + args[0]
		}
		return ""
	}
	if err := cmd.ParseFlags(args); err != nil {
		return err.Error()
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err.Error()
	}
	return ""
}
