package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Validate returns every fault in the values, each a *Fault, as Load does. Load has called it; it is
// for a Config made or changed by hand. It opens no file, and leaves open whether there is a
// merchant: see RequireMerchant.
func (c *Config) Validate() error {
	return errors.Join(newValidator(c, map[string]bool{}).run()...)
}

// validator gathers faults. A setting in bad has one already; no rule that it is part of is asked.
type validator struct {
	c        *Config
	settings map[string]Setting
	bad      map[string]bool
	faults   []error
}

func newValidator(c *Config, bad map[string]bool) *validator {
	v := &validator{c: c, settings: map[string]Setting{}, bad: bad}
	for _, s := range Settings() {
		v.settings[s.Name] = s
	}
	return v
}

func (v *validator) run() []error {
	v.each()
	v.topics()
	v.kafka()
	v.redis()
	v.sending()
	v.admin()
	v.merchants()
	return v.faults
}

// each asks every setting's own rule.
func (v *validator) each() {
	for _, s := range Settings() {
		if v.bad[s.Name] {
			continue
		}
		var r rule
		switch text := s.value.text(v.c); {
		case text != "":
			r = s.value.check(v.c)
		case !s.MayBeEmpty:
			r = rule{must: "not be empty"}
		}
		if r.broken() {
			v.bad[s.Name] = true
			v.faults = append(v.faults, s.fault(v.text(s.Name), v.c.origins[s.Name], r))
		}
	}
}

// text is what was given for a setting, or its value where nothing was.
func (v *validator) text(name string) string {
	if raw, found := v.c.raws[name]; found {
		return raw
	}
	return v.settings[name].value.text(v.c)
}

// demand adds a fault of the setting name where a rule over it and the others does not hold. Where
// one of them has a fault of its own, it adds nothing.
func (v *validator) demand(holds bool, name string, others []string, must, do string) {
	if holds || v.bad[name] || slices.ContainsFunc(others, func(o string) bool { return v.bad[o] }) {
		return
	}
	f := v.settings[name].fault(v.text(name), v.c.origins[name], rule{must: must, do: do})
	v.faults = append(v.faults, f)
}

// is words another setting's value: `retry-max, which is "1m"`.
func (v *validator) is(name string) string {
	text, _ := v.settings[name].shown(v.settings[name].value.text(v.c))
	return fmt.Sprintf("%s, which is %s (%s)", name, quote(text), v.c.origins[name])
}

// together demands that a setting which is given has another one with it.
func (v *validator) together(name, value, other, otherValue string) {
	v.demand(value == "" || otherValue != "", name, []string{other},
		"have "+other+" with it", "set "+other+", or leave "+name+" out")
}

func (v *validator) topics() {
	names := []string{"topic-jobs", "topic-outcomes", "topic-dead-letters", "topic-resolutions"}
	for i, name := range names {
		for _, other := range names[:i] {
			v.demand(!sameTopic(v.text(name), v.text(other)), name, []string{other},
				"be a topic of its own, and not that of "+v.is(other), "give each its own topic")
		}
	}
}

// sameTopic counts . and _ as the same letter, as the broker does when it makes a topic.
func sameTopic(a, b string) bool {
	return strings.ReplaceAll(a, ".", "_") == strings.ReplaceAll(b, ".", "_")
}

func (v *validator) kafka() {
	c := v.c
	v.together("kafka-cert-file", c.KafkaCertFile, "kafka-key-file", c.KafkaKeyFile)
	v.together("kafka-key-file", c.KafkaKeyFile, "kafka-cert-file", c.KafkaCertFile)
	for _, file := range []struct{ name, path string }{
		{"kafka-ca-file", c.KafkaCAFile}, {"kafka-cert-file", c.KafkaCertFile},
	} {
		v.demand(file.path == "" || c.KafkaTLS, file.name, []string{"kafka-tls"},
			"have kafka-tls with it", "set kafka-tls to true, or leave "+file.name+" out")
	}
	v.together("kafka-sasl-mechanism", c.KafkaSASLMechanism, "kafka-sasl-username", c.KafkaSASLUsername)
	v.together("kafka-sasl-mechanism", c.KafkaSASLMechanism, "kafka-sasl-password-file", c.KafkaSASLPasswordFile)
	v.together("kafka-sasl-username", c.KafkaSASLUsername, "kafka-sasl-mechanism", c.KafkaSASLMechanism)
	v.together("kafka-sasl-password-file", c.KafkaSASLPasswordFile, "kafka-sasl-mechanism", c.KafkaSASLMechanism)
}

func (v *validator) redis() {
	c := v.c
	v.demand(c.RedisCAFile == "" || c.RedisURL.TLS, "redis-ca-file", []string{"redis-url"},
		"have a redis-url with TLS", "begin redis-url with rediss://, or leave redis-ca-file out")
	v.demand(c.RedisPasswordFile == "" || c.RedisURL.Password.IsZero(), "redis-password-file", []string{"redis-url"},
		"be the only password, and redis-url has one too", "take the password out of redis-url")
}

func (v *validator) sending() {
	c := v.c
	v.demand(c.BackupURL == "" || !sameURL(c.PrimaryURL, c.BackupURL), "backup-url", []string{"primary-url"},
		"be another host than "+v.is("primary-url"), `set it to "" where there is no backup`)
	v.demand(c.RetryInitial <= c.RetryMax, "retry-initial", []string{"retry-max"},
		"be at most "+v.is("retry-max"), "raise the one or lower the other")
	v.demand(c.ClaimRetention > c.ClaimLease, "claim-retention", []string{"claim-lease"},
		"be more than "+v.is("claim-lease"), "raise the one or lower the other")
}

func (v *validator) admin() {
	v.demand(v.c.AdminTokenFile != "" || v.c.AdminOnLoopback(), "admin-addr", []string{"admin-token-file"},
		"be a loopback address where there is no admin-token-file",
		"set admin-token-file to a file with a token, or use 127.0.0.1")
}

// AdminOnLoopback says that only this machine reaches admin-addr.
func (c *Config) AdminOnLoopback() bool {
	host, _, err := net.SplitHostPort(c.AdminAddr)
	return err == nil && isLoopback(host)
}

// merchants asks the rules of the entries of merchants-file. The merchant of the settings has had
// the rules of the settings.
func (v *validator) merchants() {
	seen := map[string]Merchant{}
	for i := range v.c.Merchants {
		m := &v.c.Merchants[i]
		if first, twice := seen[m.MchID]; twice && m.MchID != "" {
			v.repeatedMerchant(m, first)
		} else {
			seen[m.MchID] = *m
		}
		if m.flat {
			continue
		}
		if m.where == "" {
			m.where = fmt.Sprintf("merchants[%d]", i)
		}
		v.merchant(m)
		v.answerKeys(m)
	}
}

func (v *validator) repeatedMerchant(m *Merchant, first Merchant) {
	f := m.fault("mchid", m.MchID, rule{must: "be there once", do: "take one of them out"})
	f.Rule = "is there twice, first in " + first.origin("mchid").String()
	if first.flat {
		f.Rule = "is the default merchant of the settings too"
		f.Do = "take it out of the file; or leave mchid alone in the settings, which chooses this one as the default"
	}
	v.faults = append(v.faults, f)
}

func (v *validator) merchant(m *Merchant) {
	for _, field := range m.fields() {
		switch {
		case m.bad[field.name] || field.optional && *field.text == "":
			continue
		case *field.text == "":
			v.missing(m.entryNotes, field.name)
			continue
		}
		if r := field.test(*field.text); r.broken() {
			v.faults = append(v.faults, m.fault(field.name, *field.text, r))
		}
	}
	for _, other := range []string{"topic-outcomes", "topic-dead-letters", "topic-resolutions"} {
		if m.TopicJobs != "" && m.TopicJobs != v.c.TopicJobs && !v.bad[other] && sameTopic(m.TopicJobs, v.text(other)) {
			v.faults = append(v.faults, m.fault("topic-jobs", m.TopicJobs, rule{
				must: "be a topic for jobs, and not that of " + v.is(other), do: "give each its own topic",
			}))
		}
	}
}

func (v *validator) answerKeys(m *Merchant) {
	seen := []string{m.PublicKeyID}
	for i := range m.AnswerKeys {
		k := &m.AnswerKeys[i]
		if k.where == "" {
			k.where = fmt.Sprintf("%s.answer-keys[%d]", m.where, i)
		}
		switch r := publicKeyIDPattern().check(k.ID); {
		case k.bad["id"]:
		case k.ID == "":
			v.missing(k.entryNotes, "id")
		case r.broken():
			v.faults = append(v.faults, k.fault("id", k.ID, r))
		case slices.Contains(seen, k.ID):
			v.faults = append(v.faults, k.fault("id", k.ID, rule{
				must: "be another key than the merchant's others", do: "take one of them out",
			}))
		}
		seen = append(seen, k.ID)
		switch r := checkPath(k.File); {
		case k.bad["file"]:
		case k.File == "":
			v.missing(k.entryNotes, "file")
		case r.broken():
			v.faults = append(v.faults, k.fault("file", k.File, r))
		}
	}
}

func (v *validator) missing(n entryNotes, name string) {
	v.faults = append(v.faults, &Fault{
		Name: n.where + "." + name, Origin: n.origin(name), Rule: "is missing", Do: "write `" + name + ": ...`",
	})
}

// fault words what is wrong with a part of an entry.
func (n entryNotes) fault(name, text string, r rule) *Fault {
	return &Fault{
		Name: n.where + "." + name, Origin: n.origin(name), Value: text, HasVal: !looksLikeKey(text),
		Rule: "must " + r.must, Do: r.do,
	}
}

// RequireMerchant returns nil where calls can be signed: there is a merchant, and each has all that
// it needs. Otherwise every missing setting is a fault.
func (c *Config) RequireMerchant() error {
	chosenInFile := c.MchID != "" && c.onlyMchID() && len(c.Merchants) > 0 && !c.Merchants[0].flat
	none := c.MchID == "" && c.onlyMchID()
	if chosenInFile || none && len(c.Merchants) > 0 {
		return nil
	}
	why := "is missing: the default merchant needs it"
	if none {
		why = "is missing: no merchant is configured, and calls need one"
	}
	var faults []error
	for _, f := range c.flatParts() {
		if *f.text == "" {
			faults = append(faults, &Fault{
				Name: f.name, Rule: why,
				Do: "set it with --" + f.name + ", " + EnvName(f.name) + " or in the file",
			})
		}
	}
	return errors.Join(faults...)
}

// flatParts are the settings of the default merchant.
func (c *Config) flatParts() []merchantField {
	m := c.flatMerchant()
	return slices.DeleteFunc(m.fields(), func(f merchantField) bool { return f.optional })
}
