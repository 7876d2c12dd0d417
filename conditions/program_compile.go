// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"errors"
	"fmt"
	"net/textproto"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	exprparser "github.com/expr-lang/expr/parser"
)

// newProgram compiles the source of expr( ), which is printable ASCII and
// white space, so that bytes and characters count alike.
func newProgram(source string) (p *program, err *SyntaxError) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, newSyntaxError(source, 0, fmt.Sprintf("the program cannot be compiled: %v", r), "")
		}
	}()
	config := conf.CreateNew()
	config.MaxNodes = MaxProgramNodes
	config.DisableIfOperator = true
	tree, parseErr := exprparser.ParseWithConfig(source, config)
	if parseErr != nil {
		return nil, programError(source, parseErr)
	}
	c := &programCompiler{source: source, patterns: map[string]*pattern{}}
	if c.check(tree.Node); c.err != nil {
		return nil, c.err
	}
	options := []expr.Option{
		expr.Env((&evaluation{}).environment()),
		expr.AsBool(), expr.WarnOnAny(), expr.DisableIfOperator(), expr.MaxNodes(MaxProgramNodes),
		expr.DisableAllBuiltins(), expr.Patch(bindNames{}), expr.Patch(bindOperators{c}),
	}
	for _, name := range programBuiltins {
		options = append(options, expr.EnableBuiltin(name))
	}
	code, compileErr := expr.Compile(source, options...)
	switch {
	case c.err != nil:
		return nil, c.err
	case compileErr != nil:
		return nil, programError(source, compileErr)
	}
	return &program{code: code, patterns: c.patterns, asks: c.asks}, nil
}

// programError words an error of expr-lang.
func programError(source string, err error) *SyntaxError {
	at, problem := 0, err.Error()
	if located, ok := errors.AsType[*file.Error](err); ok {
		at, problem = min(located.From, len(source)), located.Message
	}
	if strings.Contains(problem, "exceeds maximum allowed nodes") {
		return newSyntaxError(source, at, "the program is too long", "at most "+strconv.Itoa(MaxProgramNodes)+" values, names, operators and calls are allowed")
	}
	return newSyntaxError(source, at, "expr: "+problem, "")
}

// Names that programs may use.
var (
	// programVariables are facts of the request; a program is changed to call
	// the function that has the name with "$".
	programVariables = []string{"method", "path", "host", "ip"}
	// programFunctions are ours; programLookups among them take a constant.
	programFunctions = []string{
		"header", "has_header", "cookie", "has_cookie", "query", "has_query",
		"hash", "lower", "upper", "trim", "len", "in_cidr",
	}
	programLookups = programFunctions[:6]
	// programBuiltins are those of expr-lang that turn texts into numbers and
	// numbers into others.
	programBuiltins = []string{"int", "float", "abs", "min", "max", "floor", "ceil", "round"}
	// programOperators are those that work on single values.
	programOperators = []string{
		"!", "not", "&&", "and", "||", "or", "==", "!=", "<", "<=", ">", ">=", "in",
		"contains", "startsWith", "endsWith", "matches", "+", "-", "*", "/", "%", "**", "^",
	}
)

// programCompiler checks that a program keeps to what is allowed, and then
// changes it for evaluation.
type programCompiler struct {
	source   string
	patterns map[string]*pattern
	asks     Facts
	err      *SyntaxError // the first
}

func (c *programCompiler) fail(n ast.Node, problem, allowed string) {
	if c.err == nil {
		c.err = newSyntaxError(c.source, min(n.Location().From, len(c.source)), problem, allowed)
	}
}

// check fails at what is not expressly allowed.
func (c *programCompiler) check(n ast.Node) {
	switch n := n.(type) {
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.StringNode:
	case *ast.IdentifierNode:
		c.checkVariable(n)
	case *ast.UnaryNode:
		c.checkOperator(n, n.Operator)
		c.check(n.Node)
	case *ast.BinaryNode:
		c.checkBinary(n)
	case *ast.ConditionalNode:
		c.check(n.Cond)
		c.check(n.Exp1)
		c.check(n.Exp2)
	case *ast.CallNode:
		c.checkCall(n)
	case *ast.BuiltinNode:
		c.checkFunction(n, n.Name)
		c.checkAll(n.Arguments)
	case *ast.ArrayNode:
		c.fail(n, "a list stands where none is allowed", `lists stand behind "in"`)
	default:
		c.fail(n, constructName(n)+" in expr", "a program is one expression over single values")
	}
}

// constructName says what a node that is not allowed is.
func constructName(n ast.Node) string {
	switch n.(type) {
	case *ast.NilNode:
		return "there is no nil"
	case *ast.BytesNode:
		return "there are no byte strings"
	case *ast.MemberNode, *ast.ChainNode, *ast.SliceNode:
		return "there are no members, elements and slices"
	case *ast.VariableDeclaratorNode:
		return "there are no variables of one's own"
	case *ast.SequenceNode:
		return "there are no sequences"
	case *ast.MapNode, *ast.PairNode:
		return "there are no maps"
	default:
		return "there are no closures"
	}
}

func (c *programCompiler) checkAll(nodes []ast.Node) {
	for _, n := range nodes {
		c.check(n)
	}
}

func (c *programCompiler) checkVariable(n *ast.IdentifierNode) {
	switch {
	case n.Value == "ip":
	case slices.Contains(programVariables, n.Value):
		c.asks |= FactRequest
	case slices.Contains(programFunctions, n.Value), slices.Contains(programBuiltins, n.Value):
		c.fail(n, strconv.Quote(n.Value)+" is a function", "write: "+n.Value+"(...)")
	default:
		c.fail(n, "unknown name "+strconv.Quote(n.Value), "known are "+strings.Join(programVariables, ", ")+" and functions")
	}
}

func (c *programCompiler) checkOperator(n ast.Node, operator string) {
	if !slices.Contains(programOperators, operator) {
		c.fail(n, "the operator "+strconv.Quote(operator)+" is not allowed in expr", "allowed are "+strings.Join(programOperators, " "))
	}
}

func (c *programCompiler) checkBinary(n *ast.BinaryNode) {
	c.checkOperator(n, n.Operator)
	c.check(n.Left)
	list, isList := n.Right.(*ast.ArrayNode)
	switch {
	case n.Operator == "in" && isList:
		c.checkAll(list.Nodes)
	case n.Operator == "in":
		c.fail(n.Right, `"in" needs a list in brackets`, `write: in ["a", "b"]`)
	case n.Operator == "matches":
		c.checkPattern(n.Right)
	default:
		c.check(n.Right)
	}
}

func (c *programCompiler) checkPattern(n ast.Node) {
	text, ok := n.(*ast.StringNode)
	if !ok {
		c.fail(n, "a regular expression must be a constant", `write: matches "..."`)
		return
	}
	p, problem, allowed := newPattern(text.Value)
	if problem != "" {
		c.fail(n, problem, allowed)
		return
	}
	c.patterns[text.Value] = p
}

func (c *programCompiler) checkCall(n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		c.fail(n, "there are no methods in expr", "")
		return
	}
	c.checkFunction(n, callee.Value)
	if slices.Contains(programLookups, callee.Value) {
		c.asks |= FactRequest
	}
	for _, argument := range n.Arguments {
		if _, constant := argument.(*ast.StringNode); !constant && slices.Contains(programLookups, callee.Value) {
			c.fail(argument, "the name given to "+callee.Value+" must be a constant", "write: "+callee.Value+`("...")`)
		}
		c.check(argument)
	}
	if callee.Value == "in_cidr" && len(n.Arguments) == 2 {
		text, ok := n.Arguments[1].(*ast.StringNode)
		if ok {
			_, ok = parseNetwork(text.Value)
		}
		if !ok {
			c.fail(n.Arguments[1], "the second argument of in_cidr must be a constant network", `write: in_cidr(ip, "10.0.0.0/8")`)
		}
	}
}

func (c *programCompiler) checkFunction(n ast.Node, name string) {
	if !slices.Contains(programFunctions, name) && !slices.Contains(programBuiltins, name) {
		c.fail(n, "unknown function "+strconv.Quote(name),
			"known are "+strings.Join(programFunctions, ", ")+", "+strings.Join(programBuiltins, ", "))
	}
}

// bindNames has a program, which was checked, call what its names stand for.
type bindNames struct{}

// Visit is called for every node by expr-lang.
func (bindNames) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if slices.Contains(programVariables, n.Value) {
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: "$" + n.Value}})
		}
	case *ast.CallNode:
		callee, _ := n.Callee.(*ast.IdentifierNode)
		if (callee.Value == "header" || callee.Value == "has_header") && len(n.Arguments) == 1 {
			name, _ := n.Arguments[0].(*ast.StringNode)
			name.Value = textproto.CanonicalMIMEHeaderKey(name.Value)
		}
	}
}

// bindOperators has a program, the types of which are known, call functions
// that cost what they should.
type bindOperators struct{ *programCompiler }

// Visit is called for every node by expr-lang.
func (b bindOperators) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.BinaryNode)
	switch {
	case !ok:
	case n.Operator == "+" && (isText(n.Left) || isText(n.Right)):
		// Texts that are joined would grow beyond all that was read.
		b.fail(n, "texts are not joined in expr", "+ adds numbers")
	case n.Operator == "matches" && isText(n.Left), n.Operator == "contains" && isText(n.Left) && isText(n.Right):
		ast.Patch(node, &ast.CallNode{
			Callee:    &ast.IdentifierNode{Value: "$" + n.Operator},
			Arguments: []ast.Node{n.Left, n.Right},
		})
	}
}

// isText reports whether a node yields a string, or may.
func isText(n ast.Node) bool {
	kind := n.Type().Kind()
	return kind == reflect.String || kind == reflect.Interface
}
