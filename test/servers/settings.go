package servers

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
)

// prefix begins every variable of the product.
const prefix = "REPLYWORKER_"

// setting is one line of an environment file.
func setting(name, value string) string { return prefix + name + "=" + value }

// WriteSettings writes lines NAME=value into a file that only its owner may read. It refuses a line that
// an environment file cannot hold.
func WriteSettings(path string, lines []string) error {
	var b strings.Builder
	for _, line := range lines {
		if name, _, found := strings.Cut(line, "="); !found || name == "" || strings.ContainsAny(line, "\r\n\x00") {
			return fmt.Errorf("setting %q is no line NAME=value", line)
		}
		b.WriteString(line + "\n")
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

// ReadSettings returns the lines of a file that WriteSettings has written, such as the one that
// TEST_SERVERS names in the environment of what servers/with runs.
func ReadSettings(path string) ([]string, error) {
	if path == "" {
		return nil, errors.New("settings: no file is named")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' }), nil
}

// writePassword writes a new password into a file and returns it.
func writePassword(path string) (string, error) {
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return password, nil
}
