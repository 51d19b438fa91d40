package bundle

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// tick is the function that every loop calls in every round. Templates cannot call it: it is not among the functions
// that they may name.
const tick = "countRound"

// execute evaluates one template. Where that fails it returns the reason, which quotes nothing of the template.
func execute(text string, context map[string]any, m *meter) (result, reason string) {
	if len(text) > maxTemplate {
		return "", "the template is longer than 64 KiB"
	}
	tree, used, reason := parseTemplate(text)
	if reason != "" {
		return "", reason
	}
	funcs := template.FuncMap{tick: func() (string, error) { return "", m.spend(workPerRound) }}
	for name := range used {
		fn, ok := function(name)
		if ok {
			funcs[name] = m.guard(fn)
		}
	}
	t, err := template.New("values").Option("missingkey=error").Funcs(funcs).AddParseTree("values", tree)
	if err != nil {
		return "", "the template does not parse"
	}
	out := &limitedText{}
	if err := t.Execute(out, context); err != nil {
		var tooFar limit
		if errors.As(err, &tooFar) {
			return "", tooFar.Error()
		}
		return "", executeReason(err)
	}
	return out.String(), ""
}

// limitedText collects what a template writes.
type limitedText struct{ strings.Builder }

// Write fails once the text is too large.
func (w *limitedText) Write(p []byte) (int, error) {
	if w.Len()+len(p) > maxSize {
		return 0, errTooLarge
	}
	return w.Builder.Write(p)
}

// parseTemplate parses a template, checks that it calls known functions only, and makes its loops count their rounds.
func parseTemplate(text string) (tree *parse.Tree, used map[string]bool, reason string) {
	tree = parse.New("values")
	// Functions are looked up below, so that the message can say what is wrong with one.
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(text, leftDelim, rightDelim, trees); err != nil {
		return nil, nil, parseReason(err)
	}
	v := visitor{used: map[string]bool{}}
	v.node(tree.Root)
	if v.reason == "" && len(trees) > 1 {
		v.reason = "define, block and template are not available in values"
	}
	return tree, v.used, v.reason
}

// visitor walks through a parsed template.
type visitor struct {
	used map[string]bool
	// reason is the first thing that is wrong.
	reason string
}

func (v *visitor) fail(format string, args ...any) {
	if v.reason == "" {
		v.reason = fmt.Sprintf(format, args...)
	}
}

func (v *visitor) node(node parse.Node) {
	switch n := node.(type) {
	case *parse.ListNode:
		v.list(n)
	case *parse.ActionNode:
		v.pipe(n.Pipe)
		// Nothing has effects but its result, so a result that is dropped is a misunderstanding.
		if len(n.Pipe.Decl) == 1 && n.Pipe.Decl[0].String() == "$_" {
			v.fail("a result is dropped into $_, but functions do not change their arguments: use the result")
		}
	case *parse.IfNode:
		v.branch(&n.BranchNode)
	case *parse.WithNode:
		v.branch(&n.BranchNode)
	case *parse.RangeNode:
		v.branch(&n.BranchNode)
		n.List.Nodes = slices.Insert(n.List.Nodes, 0, parse.Node(tickNode(n)))
	case *parse.TemplateNode:
		v.fail("define, block and template are not available in values")
	case *parse.TextNode, *parse.BreakNode, *parse.ContinueNode, *parse.CommentNode:
	default:
		v.fail("the template does not parse")
	}
}

func (v *visitor) list(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		v.node(node)
	}
}

func (v *visitor) branch(branch *parse.BranchNode) {
	v.pipe(branch.Pipe)
	v.list(branch.List)
	v.list(branch.ElseList)
}

func (v *visitor) pipe(pipe *parse.PipeNode) {
	if pipe == nil {
		return
	}
	for _, command := range pipe.Cmds {
		for _, arg := range command.Args {
			v.argument(arg)
		}
	}
}

func (v *visitor) argument(arg parse.Node) {
	switch a := arg.(type) {
	case *parse.IdentifierNode:
		if why := refusal(a.Ident); why != "" {
			v.fail("the function %s is not available in values: %s", a.Ident, why)
		}
		v.used[a.Ident] = true
	case *parse.PipeNode:
		v.pipe(a)
	case *parse.ChainNode:
		v.argument(a.Node)
	}
}

// tickNode returns an action that calls tick and writes nothing.
func tickNode(loop *parse.RangeNode) *parse.ActionNode {
	ident := parse.NewIdentifier(tick).SetPos(loop.Pos)
	return &parse.ActionNode{
		NodeType: parse.NodeAction, Pos: loop.Pos, Line: loop.Line,
		Pipe: &parse.PipeNode{
			NodeType: parse.NodePipe, Pos: loop.Pos, Line: loop.Line,
			Cmds: []*parse.CommandNode{{NodeType: parse.NodeCommand, Pos: loop.Pos, Args: []parse.Node{ident}}},
		},
	}
}

// guard returns the function with every call counted and every argument and result measured. Values never change, so
// what has been measured once is never larger later.
func (m *meter) guard(fn guarded) any {
	f := reflect.ValueOf(fn.call)
	typ := f.Type()
	in := make([]reflect.Type, typ.NumIn())
	for i := range in {
		in[i] = typ.In(i)
	}
	errorType := reflect.TypeFor[error]()
	out := []reflect.Type{typ.Out(0), errorType}
	fail := func(err error) []reflect.Value {
		return []reflect.Value{reflect.Zero(typ.Out(0)), reflect.ValueOf(&err).Elem()}
	}
	return reflect.MakeFunc(reflect.FuncOf(in, out, typ.IsVariadic()), func(args []reflect.Value) []reflect.Value {
		if err := m.before(fn, args); err != nil {
			return fail(err)
		}
		var results []reflect.Value
		if typ.IsVariadic() {
			results = f.CallSlice(args)
		} else {
			results = f.Call(args)
		}
		if len(results) == 2 && !results[1].IsNil() {
			return fail(results[1].Interface().(error))
		}
		if err := m.inspect(results[0]); err != nil {
			return fail(err)
		}
		return []reflect.Value{results[0], reflect.Zero(errorType)}
	}).Interface()
}

// before checks a call by its arguments: a result that is too large must not come into being.
func (m *meter) before(fn guarded, args []reflect.Value) error {
	if err := m.spend(workPerCall); err != nil {
		return err
	}
	for _, arg := range args {
		if err := m.inspect(arg); err != nil {
			return err
		}
	}
	if fn.estimate == nil {
		return nil
	}
	return fn.estimate(m, args)
}
