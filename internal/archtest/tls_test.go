package archtest_test

import (
	"go/ast"
	"slices"
	"testing"
)

// tlsHasAFloor finds TLS configurations that leave the oldest version to the library, or set one
// below 1.2.
func tlsHasAFloor(t *tree) []string {
	var found []string
	for _, f := range t.code() {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || !isSelector(lit.Type, "tls", "Config") {
				return true
			}
			floor := slices.IndexFunc(lit.Elts, func(e ast.Expr) bool {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok {
					return false
				}
				name, ok := kv.Key.(*ast.Ident)
				return ok && name.Name == "MinVersion" && isSelector(kv.Value, "tls", "VersionTLS12", "VersionTLS13")
			})
			if floor < 0 {
				found = append(found, t.finding(lit.Pos(), "a TLS configuration without MinVersion 1.2 or 1.3"))
			}
			return true
		})
	}
	return found
}

func TestTLSHasAFloor(t *testing.T) {
	t.Parallel()
	check(t, tlsHasAFloor, "every connection is TLS 1.2 at least, whatever Go's default is")
	prove(t, tlsHasAFloor,
		one("none", "internal/kafkaio/a.go", `package kafkaio; import "crypto/tls"; var c = &tls.Config{}`, 1),
		one("too old", "internal/kafkaio/a.go", `package kafkaio; import "crypto/tls"; var c = tls.Config{MinVersion: tls.VersionTLS11}`, 1),
		one("good", "internal/kafkaio/a.go", `package kafkaio; import "crypto/tls"; var c = tls.Config{MinVersion: tls.VersionTLS12}`, 0),
	)
}
