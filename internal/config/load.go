package config

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// Sources is where Load looks.
type Sources struct {
	// Flags has the flags of AddFlags and the one named FileFlag, parsed. Nil: there are none.
	Flags *pflag.FlagSet
	// Env is the environment as os.Environ gives it.
	Env []string
	// ReadFile reads the configuration file and merchants-file. Nil: from the file system.
	ReadFile func(path string) ([]byte, error)
}

// Load returns the configuration that the sources make, or every fault in them, each a *Fault. It
// reads the configuration file and merchants-file, and no other.
func Load(src Sources) (*Config, error) {
	l := &loader{
		c:     Default(),
		src:   src,
		given: map[string]given{},
		bad:   map[string]bool{},
	}
	if l.src.ReadFile == nil {
		l.src.ReadFile = readLimited
	}
	env := l.environment()
	path := l.filePath(env)
	l.file(path)
	l.fromEnv(env)
	l.fromFlags()
	l.apply()
	l.merchants()
	v := newValidator(l.c, l.bad)
	if err := errors.Join(append(l.faults, v.run()...)...); err != nil {
		return nil, err
	}
	l.c.src, l.c.file = src, path.text
	return l.c, nil
}

// given is a value as a source gave it.
type given struct {
	text   string
	origin Origin
}

type loader struct {
	c      *Config
	src    Sources
	given  map[string]given
	bad    map[string]bool // settings with a fault already: rules about them would mislead
	faults []error
}

// filePath says which file to read: the flag's, else the variable's, else none.
func (l *loader) filePath(env map[string]string) given {
	if l.src.Flags != nil {
		if f := l.src.Flags.Lookup(FileFlag); f != nil && f.Changed {
			return given{f.Value.String(), Origin{Kind: FromFlag, Name: FileFlag}}
		}
	}
	name := EnvName(FileFlag)
	return given{env[name], Origin{Kind: FromEnv, Name: name}}
}

// file takes the values of the configuration file.
func (l *loader) file(path given) {
	if path.text == "" {
		return
	}
	data, err := l.src.ReadFile(path.text)
	if err != nil {
		l.faults = append(l.faults, unreadable(FileFlag, path, err))
		return
	}
	settings := map[string]Setting{}
	var names []string
	for _, s := range Settings() {
		settings[s.Name] = s
		names = append(names, s.Name)
	}
	doc := &document{path: path.text}
	for _, e := range doc.entries(doc.root(data), names, "") {
		text, ok := doc.scalar(e.key, e.value, settings[e.key].value.list)
		if !ok {
			l.bad[e.key] = true
			continue
		}
		l.give(e.key, text, doc.origin(e.value))
	}
	l.faults = append(l.faults, doc.faults...)
}

func (l *loader) fromFlags() {
	if l.src.Flags == nil {
		return
	}
	for _, s := range Settings() {
		flag := l.src.Flags.Lookup(s.Name)
		if flag == nil || !flag.Changed {
			continue
		}
		if _, ours := flag.Value.(*flagValue); ours {
			l.give(s.Name, flag.Value.String(), Origin{Kind: FromFlag, Name: s.Name})
		}
	}
}

// give sets a value over that of the weaker sources, which may be faulty then.
func (l *loader) give(name, text string, origin Origin) {
	l.given[name] = given{text, origin}
	delete(l.bad, name)
}

// apply turns the texts into fields.
func (l *loader) apply() {
	for _, s := range Settings() {
		g, found := l.given[s.Name]
		if !found {
			continue
		}
		text := strings.TrimSpace(g.text)
		l.c.origins[s.Name] = g.origin
		l.c.raws[s.Name], _ = s.shown(text)
		if r := s.set(l.c, text); r.broken() {
			l.bad[s.Name] = true
			l.faults = append(l.faults, s.fault(text, g.origin, r))
		}
	}
}

// set fills the setting's field from a text, or says what is wrong with the text.
func (s Setting) set(c *Config, text string) rule {
	switch {
	case text == "" && s.MayBeEmpty:
		s.value.clear(c)
		return rule{}
	case text == "":
		return rule{must: "not be empty"}
	case s.Kind() == "file" && looksLikeKey(text):
		return checkPath(text)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return rule{must: "be text without control characters"}
	default:
		return s.value.parse(c, text)
	}
}

// fault words what is wrong with a setting's value.
func (s Setting) fault(text string, origin Origin, r rule) *Fault {
	f := &Fault{Name: s.Name, Origin: origin, Rule: "must " + r.must, Do: r.do}
	f.Value, f.HasVal = s.shown(text)
	if f.Do == "" && s.Default != "" {
		f.Do = "leave it out for the default " + s.Default
	}
	if f.Do == "" && text != "" && s.Kind() != "file" {
		f.Do = "leave it out if there is none"
	}
	return f
}

// shown returns the text without secrets, and whether anything of it may be shown.
func (s Setting) shown(text string) (string, bool) {
	switch {
	case s.Kind() == "file" && looksLikeKey(text):
		return "", false
	case s.Kind() == "URL", strings.HasPrefix(s.Kind(), "host:port"):
		return redactURL(text), true
	default:
		return text, true
	}
}
