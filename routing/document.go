// SPDX-License-Identifier: Apache-2.0

package routing

// Document is one artifact as a user wrote it. It is not changed once it was
// read, so it may be resolved again, with other documents, at any time and by
// several goroutines.
type Document struct {
	Kind   string   // plural: gateways, conditions, rewrites, routes or templates
	Name   string   // as written
	At     Position // where the document begins
	Broken bool     // it has a Refused fault and does not take effect

	within  string // the namespace whose Secrets it may name; empty for all
	body    *value
	imports []importRef // what body is merged over; it is decoded only then
	content
}

// content is the decoded body of a document: the part that fits its kind.
type content struct {
	gateway   *gatewayForm
	route     *routeForm
	condition *conditionForm
	rewrite   *rewriteForm
}

// importRef names a document that another one is merged over.
type importRef struct {
	kind, name string
	place      place
}

// gatewayForm is a gateway before its references are resolved.
type gatewayForm struct {
	gateway  Gateway // without routes
	routes   []*routeForm
	routesAt place
	httpOnly httpOnly // of its limits and timeouts
	tlsOnly  httpOnly // of its TLS
	tcpOnly  httpOnly // the other way round: what http ports do not have
	partial  bool     // routes that could not be read are missing from routes
}

// routeForm is a route before its references are resolved and its defaults
// applied.
type routeForm struct {
	route       Route // Path and At are of the gateway's key
	ref         *reference
	condition   conditionForm
	rewrites    []rewriteForm
	at          place // of the gateway's key
	hasWeight   bool
	hasStrength bool
	weightAt    place
	httpOnly    httpOnly   // of its limits and timeouts
	dials       []httpOnly // settings of connections to instances, by their key
	external    bool       // the path is an address
	segments    int        // of the path
}

// conditionForm is a condition: a text, a reference, or neither.
type conditionForm struct {
	text  string
	place place
	ref   *reference
}

// reference names a stored artifact.
type reference struct {
	name  string
	place place
}

// kinds maps what may be written as kind to its plural.
var kinds = map[string]string{
	kindGateways: kindGateways, "gateway": kindGateways,
	kindConditions: kindConditions, "condition": kindConditions,
	kindRewrites: kindRewrites, "rewrite": kindRewrites,
	kindRoutes: kindRoutes, "route": kindRoutes,
	kindTemplates: kindTemplates, "template": kindTemplates,
}

// The kinds of documents.
const (
	kindGateways   = "gateways"
	kindConditions = "conditions"
	kindRewrites   = "rewrites"
	kindRoutes     = "routes"
	kindTemplates  = "templates"
)

var kindNames = []string{kindGateways, kindConditions, kindRewrites, kindRoutes, kindTemplates}

// foreignKinds are Vamp's other artifacts.
var foreignKinds = map[string]bool{
	"breeds": true, "breed": true, "blueprints": true, "blueprint": true, "deployments": true, "deployment": true,
	"scales": true, "scale": true, "slas": true, "sla": true, "escalations": true, "escalation": true,
	"workflows": true, "workflow": true,
}

// CodeDuplicateName is the code of the fault of a document that does not
// count, as another one has its kind and name.
const CodeDuplicateName = "DuplicateArtifactName"

// The codes of faults. Those that Vamp has keep its name.
const (
	codeYaml              = "YamlParsingError"
	codeUnexpectedType    = "UnexpectedTypeError"
	codeUnexpectedElement = "UnexpectedElement"
	codeMissing           = "MissingPathValueError"
	codeMetadata          = "UnsupportedMetadata"
	codeName              = "IllegalName"
	codeGatewayName       = "UnsupportedGatewayNameError"
	codeKind              = "InconsistentArtifactKind"
	codeUnknownKind       = "UnexpectedArtifact"
	codeReference         = "EitherReferenceOrAnonymous"
	codeNotFound          = "ArtifactNotFound"
	codePort              = "InvalidGatewayPortError"
	codeSticky            = "IllegalGatewayStickyValue"
	codeStickyPort        = "StickyPortTypeError"
	codeVirtualHosts      = "IllegalGatewayVirtualHosts"
	codeSelector          = "InvalidSelectorError"
	codeRoutePath         = "UnsupportedRoutePathError"
	codeSelectorPath      = "RouteSelectorOnlyRouteError"
	codeSelectorExternal  = "RouteSelectorExternalTargetError"
	codeWeight            = "GatewayRouteWeightError"
	codeRewrite           = "UnsupportedPathRewriteError"
	codeHeaders           = "UnsupportedHeaderError"
	codeRedirect          = "UnsupportedRedirectError"
	codeEditPort          = "EditPortTypeError"
	codeConditionPort     = "ConditionPortTypeError"
	codeEmptyImport       = "EmptyImportError"
	codeImport            = "ImportDefinitionError"
	codeImportReference   = "ImportReferenceError"

	// These are ours.
	codeBalance         = "UnknownBalance"
	codeBound           = "OutOfBounds"
	codeBoundPort       = "BoundPortTypeError"
	codeForeignSecret   = "ForeignSecretError"
	codeHSTSPreload     = "HSTSPreloadWithoutEffect"
	codeBalancePort     = "BalancePortTypeError"
	codeConditionSyntax = "ConditionSyntaxError"
	codeDuplicateKey    = "DuplicateKey"
	codeIgnoredKey      = "IgnoredKey"
	codeTooManyFaults   = "TooManyFaults"
	codeTargetMissing   = "RouteTargetMissing"
	codeHostTaken       = "VirtualHostTaken"
)
