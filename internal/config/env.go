package config

import (
	"slices"
	"strings"
)

// environment returns the variables of the product, and a fault for each that nobody knows. Its
// value is not shown: who writes REPLYWORKER_REDIS_PASSWORD gave a password.
func (l *loader) environment() map[string]string {
	known := []string{EnvName(FileFlag)}
	for _, s := range Settings() {
		known = append(known, s.Env())
	}
	vars := map[string]string{}
	var unknown []string
	for _, entry := range l.src.Env {
		name, text, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, EnvPrefix):
		case slices.Contains(known, name):
			vars[name] = text
		case !madeByKubernetes(name) && !slices.Contains(unknown, name):
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		f := &Fault{Name: name, Origin: Origin{Kind: FromEnv, Name: name}, Rule: "is no setting"}
		f.Do = "unset it; `worker help settings` lists the names"
		if near := Nearest(name[len(EnvPrefix):], trimPrefixes(known)); near != "" {
			f.Do = "did you mean " + EnvPrefix + near + "?"
		}
		l.faults = append(l.faults, f)
	}
	return vars
}

func trimPrefixes(names []string) []string {
	var short []string
	for _, name := range names {
		short = append(short, strings.TrimPrefix(name, EnvPrefix))
	}
	return short
}

// fromEnv takes the values of the environment.
func (l *loader) fromEnv(vars map[string]string) {
	for _, s := range Settings() {
		if text, found := vars[s.Env()]; found {
			l.give(s.Name, text, Origin{Kind: FromEnv, Name: s.Env()})
		}
	}
}

// madeByKubernetes says that Kubernetes makes a variable of that name in every container, for a
// Service whose name begins with the product's.
func madeByKubernetes(name string) bool {
	rest := name[len(EnvPrefix)-1:] // from the underscore on: the Service may be named just so
	return strings.HasSuffix(rest, "_SERVICE_HOST") || strings.Contains(rest, "_SERVICE_PORT") ||
		strings.HasSuffix(rest, "_PORT") || strings.Contains(rest, "_PORT_")
}
