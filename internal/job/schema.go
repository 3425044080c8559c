package job

import (
	"embed"
	"slices"
)

//go:embed schema
var schemas embed.FS

// SchemaNames returns the names that [Schema] knows: "job" (strict validation), "job-lenient", "outcome", and
// "resolution".
func SchemaNames() []string {
	return []string{"job", "job-lenient", "outcome", "resolution"}
}

// Schema returns a JSON Schema of one of the messages, and false for a name that is not one of
// [SchemaNames]. The caller owns the bytes. The schemas are of draft 2020-12 and use only keywords
// that draft-07 has too. They agree with [Decode] on everything that JSON Schema can express, for
// validators that check "format" and whose patterns work on code points; their descriptions list
// what it cannot.
func Schema(name string) ([]byte, bool) {
	if !slices.Contains(SchemaNames(), name) {
		return nil, false
	}
	schema, err := schemas.ReadFile("schema/" + name + ".schema.json")
	return schema, err == nil
}
