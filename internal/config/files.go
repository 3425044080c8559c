package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

// maxFileBytes is more than any file that a setting names needs.
const maxFileBytes = 1 << 20

// errTooLarge and errEmpty are what is wrong with a file that can be read.
var (
	errTooLarge = errors.New("larger than 1 MiB")
	errEmpty    = errors.New("the file is empty")
)

// readLimited reads a file, or a pipe as shells make them, to its end and not further than it should.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // unreadable words it
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = errTooLarge
	}
	return data, err
}

// unreadable words why a file that a setting names cannot be used.
func unreadable(name string, path given, err error) *Fault {
	f := &Fault{
		Name: name, Origin: path.origin, Value: path.text, HasVal: !looksLikeKey(path.text), Cause: err,
		Do: "check the path and the permissions",
	}
	reason := err
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathErr.Err
	}
	f.Rule = "cannot be read: " + reason.Error()
	return f
}

// ReadFile returns the content of the file that a setting names, or nil where it names none. The
// error is a *Fault that names the setting, where it was set, and the path.
func (c *Config) ReadFile(setting string) ([]byte, error) {
	for _, s := range Settings() {
		if s.Name == setting && s.Kind() == "file" {
			return readNamed(setting, given{s.value.text(c), c.origins[setting]})
		}
	}
	return nil, fmt.Errorf("no setting %q that names a file", setting)
}

// ReadSecret returns the one line in the file that a setting names, without the white space around
// it, or the zero Secret where it names none. Its errors are as ReadFile's.
func (c *Config) ReadSecret(setting string) (Secret, error) {
	data, err := c.ReadFile(setting)
	if err != nil || data == nil {
		return Secret{}, err
	}
	text := strings.TrimSpace(string(data))
	if strings.ContainsFunc(text, unicode.IsControl) {
		return Secret{}, &Fault{
			Name: setting, Origin: c.origins[setting], Rule: "names a file that is not one line of text",
			Do: "write the password or token alone into the file",
		}
	}
	return NewSecret(text), nil
}

// ReadPrivateKey returns the content of the merchant's private key file. Its errors are as ReadFile's.
func (m Merchant) ReadPrivateKey() ([]byte, error) {
	return m.read("private-key-file", m.PrivateKeyFile)
}

// ReadPublicKey returns the content of the merchant's public key file. Its errors are as ReadFile's.
func (m Merchant) ReadPublicKey() ([]byte, error) {
	return m.read("public-key-file", m.PublicKeyFile)
}

// Read returns the content of the key's file. Its errors are as ReadFile's.
func (k AnswerKey) Read() ([]byte, error) {
	return k.read("file", k.File)
}

func (n entryNotes) read(name, path string) ([]byte, error) {
	full := name
	if n.where != "" {
		full = n.where + "." + name
	}
	return readNamed(full, given{path, n.origin(name)})
}

func readNamed(name string, path given) ([]byte, error) {
	if path.text == "" {
		return nil, nil
	}
	data, err := readLimited(path.text)
	if err == nil && len(bytes.TrimSpace(data)) == 0 {
		err = errEmpty
	}
	if err != nil {
		return nil, unreadable(name, path, err)
	}
	return data, nil
}

// Warnings returns what is allowed and unwise, a line each: secrets that others may read, and
// settings that do not go well together. It looks at the files' permissions and does not open them.
func (c *Config) Warnings() []string {
	var all []string
	for _, s := range Settings() {
		if s.Secret {
			all = appendIfOpen(all, s.Name, s.value.text(c))
		}
	}
	for _, m := range c.Merchants {
		if !m.flat {
			all = appendIfOpen(all, m.where+".private-key-file", m.PrivateKeyFile)
		}
	}
	if !c.RedisURL.Password.IsZero() {
		all = append(all, "redis-url has a password in it; redis-password-file keeps it out of process lists")
	}
	if c.KafkaSASLMechanism == "PLAIN" && !c.KafkaTLS {
		all = append(all, "kafka-sasl-mechanism PLAIN without kafka-tls sends the password readable over the network")
	}
	if c.BufferJobs < c.Concurrency {
		all = append(all, fmt.Sprintf("buffer-jobs is %d, so that concurrency %d is never reached",
			c.BufferJobs, c.Concurrency))
	}
	return all
}

// appendIfOpen warns of a file that everybody may read. Groups may: Kubernetes gives a mounted
// secret to a process by its group.
func appendIfOpen(warnings []string, name, path string) []string {
	if path == "" {
		return warnings
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o007 == 0 {
		return warnings
	}
	return append(warnings, fmt.Sprintf(
		"%s: %s is open to every user (mode %04o); run `chmod o= %s`, or set defaultMode 0440 on Kubernetes",
		name, path, info.Mode().Perm(), path))
}
