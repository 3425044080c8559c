//go:build openssl && !cgo

package wxclient

// The compiler stops here and shows this name: without cgo there is no way to OpenSSL, and a binary that
// signs with crypto/rsa is not what was asked for.
func _() { the_build_tag_openssl_needs_CGO_ENABLED_1_and_a_C_compiler() }
