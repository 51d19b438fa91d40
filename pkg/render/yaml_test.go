package render

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitDocuments(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want []string // the documents, trimmed
	}{
		"nothing":                     {in: ""},
		"blanks and comments":         {in: "\n# only\n---\n# comments\n---\n\n"},
		"one":                         {in: "a: 1\n", want: []string{"a: 1"}},
		"one between markers":         {in: "---\na: 1\n---\n", want: []string{"a: 1"}},
		"two":                         {in: "a: 1\n---\nb: 2", want: []string{"a: 1", "b: 2"}},
		"carriage returns":            {in: "a: 1\r\n---\r\nb: 2\r\n", want: []string{"a: 1", "b: 2"}},
		"lone carriage returns":       {in: "#\ra: 1\r---\rb: 2", want: []string{"#\na: 1", "b: 2"}},
		"content on the marker":       {in: "--- {a: 1}\n--- # b\nb: 2\n", want: []string{"{a: 1}", "# b\nb: 2"}},
		"a marker is a whole word":    {in: "a: |\n  x\n---b: 2\n", want: []string{"a: |\n  x\n---b: 2"}},
		"an indented one is content":  {in: "a: |\n  ---\n  x\n", want: []string{"a: |\n  ---\n  x"}},
		"an end marker":               {in: "a: 1\n...\n# more\n---\nb: 2\n...\n", want: []string{"a: 1", "b: 2"}},
		"directives are no documents": {in: "%YAML 1.2\n---\na: 1\n", want: []string{"a: 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, doc := range splitDocuments("f", []byte(test.in)) {
				got = append(got, strings.TrimSpace(strings.ReplaceAll(string(doc.data), "\r", "!")))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		mode strictness
		want string // JSON
	}{
		"types":               {in: "a: 1\nb: 1.5\nc: x\nd: null\ne: [true]\nf: on\n", want: `{"a":1,"b":1.5,"c":"x","d":null,"e":[true],"f":true}`},
		"large numbers":       {in: "a: 9007199254740993\n", want: `{"a":9007199254740993}`},
		"JSON with tabs":      {in: "{\n\t\"a\": 1\n}\n", want: `{"a":1}`},
		"JSON-like YAML":      {in: "{a: 1, b: [2]}", want: `{"a":1,"b":[2]}`},
		"scalars":             {in: "7", want: `7`},
		"lists":               {in: "- 1\n- a: b\n", want: `[1,{"a":"b"}]`},
		"aliases":             {in: "a: &x {b: 1}\nc: *x\n", want: `{"a":{"b":1},"c":{"b":1}}`},
		"merged mappings":     {in: "a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n", want: `{"a":{"b":1},"c":{"b":1,"d":2}}`},
		"keys that are twice": {in: "a: 1\na: 2\n", want: `{"a":2}`},
	} {
		t.Run(name, func(t *testing.T) {
			value, err := splitDocuments("f", []byte(test.in))[0].decode(test.mode)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(value)
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

// bomb is YAML whose aliases expand to 10^levels nodes.
func bomb(levels int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < levels; i++ {
		prev, this := string(rune('0'+i-1)), string(rune('0'+i))
		b.WriteString("a" + this + ": &a" + this + " [" + strings.Repeat("*a"+prev+",", 9) + "*a" + prev + "]\n")
	}
	return b.String()
}

func TestDecodeExplains(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want string
	}{
		"the line in the file":     {"a: 1\n---\nb: 2\nc: [\n", "f:4: "},
		"a key that is twice":      {"a: 1\nb: 2\na: 3\n", `f:3: key "a" already set in map`},
		"an unknown alias":         {"a: *x\n", "f:1: unknown anchor 'x' referenced"},
		"a key that is a mapping":  {"? {hidden: secret}\n: 1\n", "f:1: a key of a mapping is not a scalar"},
		"a value against its tag":  {"a: !!int hidden\n", "f:1: a value does not fit its tag or type"},
		"aliases without an end":   {bomb(9), "the aliases of the YAML expand to too much"},
		"a bad escape":             {"a: \"\\q hidden\"\n", "f:1: found unknown escape character"},
		"nesting without an end":   {strings.Repeat("[", 20_000), "f:1: "},
		"nesting in JSON":          {"{\"a\":" + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "}", "f:1: "},
		"binary":                   {"\x00\x01", "f:1: control characters are not allowed"},
		"invalid UTF-8":            {"a: \xff\xfe\n", "f:1: "},
		"a merge of a scalar":      {"a:\n  <<: hidden\n", "f:1: map merge requires map or sequence of maps as the value"},
		"an alias to its parent":   {"a: &x\n  b: *x\n", "f:1: "},
		"a list for a complex key": {"? [hidden]\n: 1\n", "f:1: a key of a mapping is not a scalar"},
	} {
		t.Run(name, func(t *testing.T) {
			docs := splitDocuments("f", []byte(test.in))
			_, err := docs[len(docs)-1].decode(strict)
			wantError(t, err, test.want)
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error quotes the content: %v", err)
			}
		})
	}
}

func TestCheckAliases(t *testing.T) {
	for name, test := range map[string]struct {
		in      string
		refused bool
	}{
		"no aliases":             {in: strings.Repeat("- x\n", 10_000)},
		"a few":                  {in: "a: &a {b: 1}\nc: [*a, *a]\n"},
		"levels that stay small": {in: bomb(5)},
		"levels that do not":     {in: bomb(7), refused: true},
		"in a later document":    {in: "a: 1\n---\n" + bomb(7), refused: true},
		"one that holds itself":  {in: "a: &a\n  b: *a\n", refused: true},
		"no YAML":                {in: "#!/bin/sh\nfoo && rm *; [ \t"},
		"what a parser refuses":  {in: "a: &a [1\nb: *a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkAliases("f", []byte(test.in))
			if test.refused {
				wantError(t, err, "f: the aliases of the YAML expand to too much")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDocumentsWhoseAliasesGrowTooLargeAreNotDecoded(t *testing.T) {
	bomb := "x: &x " + strings.Repeat("a", 100_000) + "\nz:\n" + strings.Repeat("- *x\n", 2_000)
	for _, mode := range []strictness{lenient, strict} {
		if _, err := (document{file: "f.yaml", line: 1, data: []byte(bomb)}).decode(mode); err == nil {
			t.Errorf("mode %v: 200 MB were written out", mode)
		}
	}
}
