package bundle

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"text/template"

	"github.com/Masterminds/sprig/v3"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Why functions of sprig are refused.
const (
	readsClock       = "its result depends on the clock or the time zone of the manager, so the deployment would change for ever"
	isRandom         = "its result differs every time, so the deployment would change for ever"
	readsEnvironment = "it reads the environment of the manager"
	changesArgument  = "it changes its argument in place; build a new map with dict and merge"
	callsValue       = "values hold no functions"
)

// refused returns the functions that a Fleet user may expect, but that are not available, with the reason.
func refused() map[string]string {
	names := map[string][]string{
		readsClock: {
			"ago", "date", "dateInZone", "dateModify", "date_in_zone", "date_modify", "htmlDate", "htmlDateInZone",
			"mustDateModify", "mustToDate", "must_date_modify", "now", "toDate", "unixEpoch",
		},
		isRandom: {
			"bcrypt", "encryptAES", "genCA", "genCAWithKey", "genPrivateKey", "genSelfSignedCert",
			"genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "htpasswd", "randAlpha", "randAlphaNum",
			"randAscii", "randBytes", "randInt", "randNumeric", "shuffle", "uuidv4",
		},
		readsEnvironment: {"env", "expandenv", "getHostByName"},
		changesArgument:  {"set", "unset"},
		callsValue:       {"call"},
	}
	byName := map[string]string{}
	for reason, list := range names {
		for _, name := range list {
			byName[name] = reason
		}
	}
	return byName
}

// accepted returns the functions of sprig that are passed on as they are. It is a list of what is allowed, so that a
// new version of sprig brings nothing unseen.
func accepted() []string {
	return []string{
		"abbrev", "abbrevboth", "add", "add1", "add1f", "addf", "adler32sum", "all", "any", "append", "atoi", "b32dec",
		"b32enc", "b64dec", "b64enc", "base", "biggest", "buildCustomCert", "camelcase", "cat", "ceil", "chunk", "clean",
		"coalesce", "compact", "concat", "contains", "decryptAES", "deepCopy", "deepEqual", "default", "derivePassword",
		"dict", "dig", "dir", "div", "divf", "duration", "durationRound", "empty", "ext", "fail", "first", "float64",
		"floor", "fromJson", "get", "has", "hasKey", "hasPrefix", "hasSuffix", "hello", "indent", "initial", "initials",
		"int", "int64", "isAbs", "join", "kebabcase", "kindIs", "kindOf", "last", "list", "lower", "max", "maxf", "min",
		"minf", "mod", "mul", "mulf", "mustAppend", "mustChunk", "mustCompact", "mustDeepCopy", "mustFirst",
		"mustFromJson", "mustHas", "mustInitial", "mustLast", "mustPrepend", "mustPush", "mustRegexFind",
		"mustRegexFindAll", "mustRegexMatch", "mustRegexReplaceAll", "mustRegexReplaceAllLiteral", "mustRegexSplit",
		"mustRest", "mustReverse", "mustSlice", "mustToJson", "mustToPrettyJson", "mustToRawJson", "mustUniq",
		"mustWithout", "nindent", "nospace", "omit", "osBase", "osClean", "osDir", "osExt", "osIsAbs", "pick", "pluck",
		"plural", "prepend", "push", "quote", "regexFind", "regexFindAll", "regexMatch", "regexQuoteMeta",
		"regexReplaceAll", "regexReplaceAllLiteral", "regexSplit", "repeat", "replace", "rest", "reverse", "round",
		"semver", "semverCompare", "seq", "sha1sum", "sha256sum", "sha512sum", "slice", "snakecase", "split",
		"splitList", "splitn", "squote", "sub", "subf", "substr", "swapcase", "ternary", "title", "toDecimal", "toJson",
		"toPrettyJson", "toRawJson", "toString", "toStrings", "trim", "trimAll", "trimPrefix", "trimSuffix", "trimall",
		"trunc", "tuple", "typeIs", "typeIsLike", "typeOf", "uniq", "until", "untilStep", "untitle", "upper", "urlJoin",
		"urlParse", "without", "wrap", "wrapWith",
	}
}

// replaced returns functions that sprig or Go's templates have as well, made to depend on their arguments alone and to
// leave these as they are.
func replaced() map[string]any {
	functions := map[string]any{
		"keys":      sortedKeys,
		"values":    sortedValues,
		"sortAlpha": sortAlpha,
		"print":     fmt.Sprint,
		"println":   fmt.Sprintln,
		"printf":    fmt.Sprintf,
		"html":      template.HTMLEscaper,
		"js":        template.JSEscaper,
		"urlquery":  template.URLQueryEscaper,
	}
	for _, name := range []string{"merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite"} {
		functions[name] = mergeCopies(reflect.ValueOf(sprig.TxtFuncMap()[name]))
	}
	return functions
}

// builtin returns the functions of Go's templates that need no guard: their results are never larger than their
// arguments.
func builtin() []string {
	return []string{"and", "eq", "ge", "gt", "index", "le", "len", "lt", "ne", "not", "or"}
}

// guarded is a function with what its arguments let expect of its result.
type guarded struct {
	call any
	// estimate fails where the result would be too large or too much work; nil if nothing but the arguments counts.
	estimate func(m *meter, args []reflect.Value) error
}

// library is all that is known about functions. It never changes.
type library struct {
	guarded map[string]guarded
	builtin map[string]bool
	refused map[string]string
}

// functions returns the library.
//
//nolint:gochecknoglobals // made once, never changed
var functions = sync.OnceValue(func() library {
	lib := library{guarded: map[string]guarded{}, builtin: map[string]bool{}, refused: refused()}
	for _, name := range builtin() {
		lib.builtin[name] = true
	}
	all, costs := sprig.TxtFuncMap(), estimates()
	for _, name := range accepted() {
		lib.guarded[name] = guarded{call: all[name], estimate: costs[name]}
	}
	for name, call := range replaced() {
		lib.guarded[name] = guarded{call: call, estimate: costs[name]}
	}
	return lib
})

// function returns the function of that name, if it needs a guard.
func function(name string) (guarded, bool) {
	fn, ok := functions().guarded[name]
	return fn, ok
}

// refusal says why there is no function of that name, or nothing if there is one.
func refusal(name string) string {
	lib := functions()
	if _, ok := lib.guarded[name]; ok || lib.builtin[name] {
		return ""
	}
	if reason, ok := lib.refused[name]; ok {
		return reason
	}
	return "there is none of this name"
}

// sortedKeys returns the keys of each map, sorted.
func sortedKeys(dicts ...map[string]any) []string {
	keys := []string{}
	for _, dict := range dicts {
		keys = append(keys, slices.Sorted(maps.Keys(dict))...)
	}
	return keys
}

// sortedValues returns the values of a map in the order of its keys.
func sortedValues(dict map[string]any) []any {
	values := make([]any, 0, len(dict))
	for _, key := range slices.Sorted(maps.Keys(dict)) {
		values = append(values, dict[key])
	}
	return values
}

// sortAlpha returns the texts of a list, sorted.
func sortAlpha(list any) []string {
	toStrings := sprig.TxtFuncMap()["toStrings"].(func(any) []string)
	texts := slices.Clone(toStrings(list))
	slices.Sort(texts)
	return texts
}

// mergeCopies makes a function that merges maps into the first one merge them into a copy.
func mergeCopies(merge reflect.Value) any {
	return reflect.MakeFunc(merge.Type(), func(args []reflect.Value) []reflect.Value {
		first := copyMap(args[0].Interface().(map[string]any))
		var others []map[string]any
		for _, other := range args[1].Interface().([]map[string]any) {
			others = append(others, copyMap(other))
		}
		return merge.CallSlice([]reflect.Value{reflect.ValueOf(first), reflect.ValueOf(others)})
	}).Interface()
}

func copyMap(m map[string]any) map[string]any {
	return (&fleet.GenericMap{Data: m}).DeepCopy().Data
}
