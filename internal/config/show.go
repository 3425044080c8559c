package config

import (
	"fmt"
	"strings"
)

// Row is one setting as "config print" shows it.
type Row struct {
	Name   string
	Value  string // without secrets
	Origin Origin
}

// Effective returns every setting with its value and where that came from, in the order of Settings,
// and a row for each merchant of merchants-file.
func (c *Config) Effective() []Row {
	var rows []Row
	for _, s := range Settings() {
		rows = append(rows, Row{Name: s.Name, Value: s.value.text(c), Origin: c.origins[s.Name]})
	}
	for _, m := range c.Merchants {
		if !m.flat {
			rows = append(rows, Row{Name: "merchant " + m.MchID, Value: m.summary(), Origin: m.origin("")})
		}
	}
	return rows
}

func (m Merchant) summary() string {
	var parts []string
	for _, f := range m.fields() {
		if f.name != "mchid" {
			parts = append(parts, f.name+"="+*f.text)
		}
	}
	for _, k := range m.AnswerKeys {
		parts = append(parts, "answer-key="+k.ID+":"+k.File)
	}
	return strings.Join(parts, " ")
}

// Markdown returns the settings as tables, one for each group, for the README.
func Markdown() string {
	var b strings.Builder
	group := Group("")
	for _, s := range Settings() {
		if s.Group != group {
			if group != "" {
				b.WriteString("\n")
			}
			group = s.Group
			fmt.Fprintf(&b, "**%s**\n\n| setting | environment | default | what it is |\n| --- | --- | --- | --- |\n", group)
		}
		def := "none"
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.Name, s.Env(), def, strings.ReplaceAll(s.markdownHelp(), "|", `\|`))
	}
	return b.String()
}

func (s Setting) markdownHelp() string {
	if len(s.Choices()) == 0 {
		return s.Help
	}
	return "`" + strings.Join(s.Choices(), "`, `") + "`: " + s.Help
}
