package asyncapi

import (
	"bytes"
	_ "embed" // document.yaml
	"fmt"

	"go.yaml.in/yaml/v3"

	"replyworker/internal/job"
)

//go:embed document.yaml
var document []byte

// Config is what the document has of one installation.
type Config struct {
	Brokers     []string // host:port
	TLS         bool
	Certificate bool   // clients show one
	SASL        string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, or empty for none
	Group       string
	Jobs        []string // topics; the shared one is first, those of single merchants come after it
	Outcomes    string
	DeadLetters string
	Resolutions string
	Validation  job.Validation
}

// YAML returns the document as YAML.
func YAML(cfg Config) ([]byte, error) {
	root, err := build(cfg)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, fmt.Errorf("write yaml: %w", err)
	}
	return b.Bytes(), nil
}

// JSON returns the document as JSON on one line, its members in the same order.
func JSON(cfg Config) ([]byte, error) {
	root, err := build(cfg)
	if err != nil {
		return nil, err
	}
	return appendJSON(nil, root)
}

// build fills in the document.
func build(cfg Config) (*yaml.Node, error) {
	var parsed yaml.Node
	if err := yaml.Unmarshal(document, &parsed); err != nil {
		return nil, fmt.Errorf("document.yaml: %w", err)
	}
	root := parsed.Content[0]
	addServers(root, cfg)
	addTopics(root, cfg)
	return root, addSchemas(at(root, "components", "schemas"), cfg.Validation)
}

// addServers lists the brokers, each as a server of the same cluster.
func addServers(root *yaml.Node, cfg Config) {
	protocol := "kafka"
	if cfg.TLS {
		protocol = "kafka-secure"
	}
	security := addSecurity(at(root, "components", "securitySchemes"), cfg)
	for i, broker := range cfg.Brokers {
		server := mapping("host", text(broker), "protocol", text(protocol))
		if security != nil {
			set(server, "security", clone(security))
		}
		if cfg.SASL != "" && cfg.Certificate { // security is a list of alternatives
			set(server, "description", text("Clients show a certificate as well."))
		}
		set(at(root, "servers"), fmt.Sprintf("broker%d", i+1), server)
	}
}

// addSecurity describes how clients make themselves known, and returns what a server says of it: nil where
// anybody may come.
func addSecurity(schemes *yaml.Node, cfg Config) *yaml.Node {
	types := map[string]string{"PLAIN": "plain", "SCRAM-SHA-256": "scramSha256", "SCRAM-SHA-512": "scramSha512"}
	name, kind := "sasl", types[cfg.SASL]
	switch {
	case cfg.SASL == "" && !cfg.Certificate:
		return nil
	case cfg.SASL == "":
		name, kind = "certificate", "X509"
	}
	set(schemes, name, mapping("type", text(kind)))
	return sequence(reference("#/components/securitySchemes/" + name))
}

// addTopics gives the channels their topics. Jobs may come on several: each has a channel like the first.
func addTopics(root *yaml.Node, cfg Config) {
	channels := at(root, "channels")
	for channel, topic := range map[string]string{
		"jobs": cfg.Jobs[0], "outcomes": cfg.Outcomes, "deadLetters": cfg.DeadLetters, "resolutions": cfg.Resolutions,
	} {
		setTopic(at(channels, channel), topic)
	}
	receive := at(root, "operations", "receiveJobs")
	at(receive, "bindings", "kafka", "groupId", "enum").Content = []*yaml.Node{text(cfg.Group)}
	for i, topic := range cfg.Jobs[1:] {
		name := fmt.Sprintf("jobs%d", i+2)
		channel := clone(at(channels, "jobs"))
		setTopic(channel, topic)
		set(channels, name, channel)
		own := clone(receive)
		set(own, "channel", reference("#/channels/"+name))
		set(own, "messages", sequence(reference("#/channels/"+name+"/messages/job")))
		set(at(root, "operations"), fmt.Sprintf("receiveJobs%d", i+2), own)
	}
}

func setTopic(channel *yaml.Node, topic string) {
	set(channel, "address", text(topic))
	set(at(channel, "bindings", "kafka"), "topic", text(topic))
}

// addSchemas adds the schemas of the values. Their own references are made those of the document.
func addSchemas(schemas *yaml.Node, validation job.Validation) error {
	jobs := "job"
	if validation == job.Lenient {
		jobs = "job-lenient"
	}
	for _, s := range []struct{ name, source string }{{"job", jobs}, {"outcome", "outcome"}, {"resolution", "resolution"}} {
		raw, _ := job.Schema(s.source)
		raw = bytes.ReplaceAll(raw, []byte(`"#/definitions/`), []byte(`"#/components/schemas/`+s.name+`/definitions/`))
		var parsed yaml.Node // JSON is YAML
		if err := yaml.Unmarshal(raw, &parsed); err != nil {
			return fmt.Errorf("schema %s: %w", s.source, err)
		}
		schema := parsed.Content[0]
		unset(schema, "$schema")
		unset(schema, "$id")
		plain(schema)
		set(schemas, s.name, schema)
	}
	return nil
}
