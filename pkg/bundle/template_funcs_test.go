package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/sprig/v3"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// A new version of sprig may bring functions: somebody has to decide about each of them.
func TestEveryFunctionOfSprigIsDecidedOn(t *testing.T) {
	lib := functions()
	for name := range sprig.TxtFuncMap() {
		_, available := lib.guarded[name]
		_, refused := lib.refused[name]
		if available == refused {
			t.Errorf("%s: available %v, refused %v", name, available, refused)
		}
	}
	for name, fn := range lib.guarded {
		if fn.call == nil {
			t.Errorf("%s is accepted, but sprig has no such function", name)
		}
		if lib.builtin[name] {
			t.Errorf("%s is both guarded and not", name)
		}
	}
	for name := range estimates() {
		if lib.guarded[name].estimate == nil {
			t.Errorf("the estimate of %s belongs to no function", name)
		}
	}
	if list := accepted(); !slices.IsSorted(list) || len(slices.Compact(list)) != len(accepted()) {
		t.Error("the list of accepted functions is not sorted, or has doubles")
	}
}

func TestRefusedFunctionsSayWhy(t *testing.T) {
	for name, reason := range refused() {
		_, got := execute("${ "+name+" }", map[string]any{}, &meter{})
		if want := fmt.Sprintf("the function %s is not available in values: %s", name, reason); got != want {
			t.Errorf("${ %s }: %q, want %q", name, got, want)
		}
	}
	// Also where they are hidden.
	for _, text := range []string{
		`${ if true }${ now }${ end }`, `${ if now }${ end }`, `${ upper (print now) }`, `${ "x" | print now }`,
		`${ range list 1 }${ else }${ now }${ end }`, `${ with now }${ end }`, `${ $x := now }`, `${ (now).Year }`,
	} {
		if _, got := execute(text, map[string]any{}, &meter{}); !strings.Contains(got, "the function now is not available") {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// The same values and facts give the same result, whatever order maps are walked in.
func TestTemplatesAreDeterministic(t *testing.T) {
	context := map[string]any{}
	for i := range 50 {
		context[fmt.Sprint("key", i)] = map[string]any{"a": i, "b": []any{i}}
	}
	for _, text := range []string{
		`${ . }`, `${ keys . }`, `${ values . }`, `${ toJson . }`, `${ range $k, $v := . }${ $k }${ $v }${ end }`,
		`${ pick . "key1" "key2" "key3" }`, `${ omit . "key1" }`, `${ merge (dict) . }`, `${ mergeOverwrite (dict) . }`,
		`${ printf "%v" . }`, `${ toStrings (values .) }`, `${ sortAlpha (keys .) }`, `${ deepCopy . }`,
		`${ splitn "," 3 "a,b,c" }`, `${ split "," "a,b,c" }`,
	} {
		first, reason := execute(text, context, &meter{})
		if reason != "" || first == "" {
			t.Errorf("%s: %q, %s", text, first, reason)
		}
		for range 20 {
			if again, _ := execute(text, context, &meter{}); again != first {
				t.Errorf("%s: two results:\n%s\n%s", text, first, again)
				break
			}
		}
	}
}

// Every function is called with a few arguments each: none may change what it is given.
func TestFunctionsLeaveTheirArgumentsAlone(t *testing.T) {
	fresh := func() map[string]any {
		return map[string]any{
			"d": map[string]any{"z": map[string]any{"y": "1"}, "a": "2"},
			"e": map[string]any{"z": map[string]any{"x": "3"}, "b": []any{"c"}},
			"l": []any{"c", "a", "b", "a"}, "s": []string{"c", "a", "b", "a"}, "t": "b,a", "n": int64(3),
		}
	}
	args := []string{".d", ".e", ".l", ".s", ".t", ".n", ".d .e", ".d .d", ".l .s", ".s .t", ".t .s", ".t .t", ".n .l", ".n .n", ".t .d"}
	want := fmt.Sprint(fresh())
	called := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(functions().guarded)) {
		for _, arg := range args {
			context := fresh()
			if _, reason := execute("${ "+name+" "+arg+" }", context, &meter{}); reason == "" {
				called[name] = true
			}
			if got := fmt.Sprint(context); got != want {
				t.Errorf("${ %s %s } changed its arguments to %s", name, arg, got)
			}
		}
	}
	if len(called) < len(functions().guarded)/2 {
		t.Errorf("only %d of %d functions could be called: the test shows little", len(called), len(functions().guarded))
	}
}

func TestNothingInTemplatesGrowsBeyondTheLimits(t *testing.T) {
	clusterValues := map[string]any{"big": strings.Repeat("x", maxSize/2), "list": make([]any, 1000)}
	doubling := `${ $x := "0123456789abcdef" }` + strings.Repeat(`${ $x = print $x $x }`, 40)
	laughs := `${ $x := list "ha" }` + strings.Repeat(`${ $x = list $x $x $x $x }`, 30)
	deep := `${ $x := list }` + strings.Repeat(`${ $x = list $x }`, 100)
	merged := `${ $x := dict "a" "b" }` + strings.Repeat(`${ $x = merge (dict "l" $x "r" $x) $x }`, 40)
	loops := strings.Repeat(`${ range until 1000 }`, 8) + strings.Repeat(`${ end }`, 8)
	tests := []struct{ name, text, want string }{
		{"repeat", `${ repeat 2000000000 "x" }`, string(errTooLarge)},
		{"repeat, overflowing", `${ repeat 4611686018427387905 "xxxx" }`, string(errTooLarge)},
		{"until", `${ until 2000000000 }`, string(errTooLarge)},
		{"until, below", `${ until -2000000000 }`, string(errTooLarge)},
		{"untilStep that overflows", `${ untilStep 0 9223372036854775807 9223372036854775806 }`, string(errTooLarge)},
		{"seq", `${ seq 1 2000000000 }`, string(errTooLarge)},
		{"seq of one", `${ seq 2000000000 }`, string(errTooLarge)},
		{"seq of three", `${ seq 1 1 2000000000 }`, string(errTooLarge)},
		{"indent", `${ indent 2000000000 "x" }`, string(errTooLarge)},
		{"nindent", `${ nindent 1000 (repeat 2000 "\n") }`, string(errTooLarge)},
		{"replace", `${ replace "" (repeat 2000 "x") (repeat 2000 "y") }`, string(errTooLarge)},
		{"join", `${ join (repeat 2000 "x") .list }`, string(errTooLarge)},
		{"wrapWith", `${ wrapWith 1 (repeat 2000 "x") (repeat 2000 "y") }`, string(errTooLarge)},
		{"regexReplaceAll", `${ regexReplaceAll "" (repeat 2000 "x") (repeat 2000 "y") }`, string(errTooLarge)},
		{"regexReplaceAllLiteral", `${ mustRegexReplaceAllLiteral "" (repeat 2000 "x") (repeat 2000 "y") }`, string(errTooLarge)},
		{"printf, a wide field", `${ printf "%1000000d" 1 }`, string(errFormat)},
		{"printf, a precise field", `${ printf "%.1000000f" 1.0 }`, string(errFormat)},
		{"printf, a width from an argument", `${ printf "%*d" 1000000 1 }`, string(errFormat)},
		{"printf, a width from an argument by index", `${ printf "%[1]*d" 1000000 1 }`, string(errFormat)},
		{"printf, an address", `${ printf "%p" . }`, string(errFormat)},
		{"printf, an address behind others", `${ printf "%s%-+p" "x" . }`, string(errFormat)},
		{"printf, one argument again and again", `${ printf "` + strings.Repeat("%[1]s", 2000) + `" .big }`, string(errTooLarge)},
		{"doubling", doubling, string(errTooLarge)},
		{"the billion laughs", laughs, string(errTooLarge)},
		{"merging", merged, string(errTooLarge)},
		{"nesting", deep, string(errTooDeep)},
		{"nesting in JSON", `${ fromJson (print (repeat 200 "[") (repeat 200 "]")) }`, string(errTooDeep)},
		{"loops in loops", loops, string(errWork)},
		{"a loop over a number", `${ range 9223372036854775807 }${ end }`, string(errWork)},
		{"output", `${ .big }${ .big }${ .big }`, string(errTooLarge)},
		{"output of a loop", `${ range until 2000 }` + strings.Repeat("x", 1000) + `${ end }`, string(errTooLarge)},
		{"uniq of many", `${ uniq (until 20000) }`, string(errWork)},
		{"a regular expression that is large", `${ regexMatch "((((x{10}){10}){10}){10})*" "x" }`, "the function regexMatch failed"},
		{"a regular expression that is very large", `${ regexMatch "(abcdefghijklmnopqrst){900}" "x" }`, string(errPattern)},
		{"a regular expression that is long", `${ regexMatch (repeat 2000 "x") "x" }`, string(errPattern)},
		{"a regular expression over much text", `${ regexMatch "(x{100}y{100}){5}" .big }`, string(errWork)},
		{"derivePassword", `${ range until 100 }${ derivePassword 1 "long" "a" "b" "c" }${ end }`, string(errWork)},
		{"a long template", strings.Repeat("x", maxTemplate) + "${ 1 }", "the template is longer than 64 KiB"},
		{"nested parentheses", "${ " + strings.Repeat("(", 30000) + "1" + strings.Repeat(")", 30000) + " }", "the template does not parse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, reason := execute(tt.text, clusterValues, &meter{})
			if !strings.HasPrefix(reason, tt.want) {
				t.Errorf("reason = %q with a result of %d bytes, want %q", reason, len(result), tt.want)
			}
		})
	}
}

func TestTemplatesOfOneClusterShareTheirLimits(t *testing.T) {
	// Each of them is within the limits.
	values := map[string]any{}
	for i := range 20 {
		values[fmt.Sprint(i)] = `${ repeat 100000 "x" }`
	}
	_, err := Template(fleetOptions(values), ClusterFacts{})
	if err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("error = %v", err)
	}
	for i := range 20 {
		values[fmt.Sprint(i)] = `${ range until 5000 }${ end }x`
	}
	_, err = Template(fleetOptions(values), ClusterFacts{})
	if err == nil || !strings.Contains(err.Error(), string(errWork)) {
		t.Errorf("error = %v", err)
	}
}

func TestLargeValuesWithoutTemplates(t *testing.T) {
	large := map[string]any{"a": strings.Repeat("x", maxSize)}
	if _, err := Template(fleetOptions(large), ClusterFacts{}); err == nil {
		t.Error("values of more than 1 MiB are accepted")
	}
	if _, err := Template(fleetOptions(map[string]any{"a": "${ 1 }"}), ClusterFacts{TemplateValues: large}); err == nil {
		t.Error("values of the cluster of more than 1 MiB are accepted")
	}
	almost := map[string]any{"a": strings.Repeat("x", maxSize*9/10)}
	if _, err := Template(fleetOptions(almost), ClusterFacts{TemplateValues: almost}); err != nil {
		t.Error(err)
	}
}

func TestYAMLBombs(t *testing.T) {
	text := "x: &x " + strings.Repeat("y", 10_000) + "\nl: [" + strings.Repeat("*x,", 10_000) + "]"
	o := fleetOptions(nil)
	for name, bomb := range map[string]string{
		"many aliases of much text": text,
		"an alias of itself":        "x: &x [*x]",
		"nesting":                   strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
	} {
		o.Helm.TemplateValues = map[string]string{"a": bomb}
		if _, err := Template(o, ClusterFacts{}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func fleetOptions(values map[string]any) fleet.BundleDeploymentOptions {
	return fleet.BundleDeploymentOptions{Helm: &fleet.HelmOptions{Values: &fleet.GenericMap{Data: values}}}
}
