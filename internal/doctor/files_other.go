//go:build !unix

package doctor

// openFileLimit says that there is no such limit to be asked for.
func openFileLimit() (uint64, bool) { return 0, false }
