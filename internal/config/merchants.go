package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// merchants reads merchants-file and joins what it has with the merchant of the settings.
func (l *loader) merchants() {
	l.joinMerchants(l.readMerchants())
}

func (l *loader) readMerchants() []Merchant {
	path := given{l.c.MerchantsFile, l.c.origins["merchants-file"]}
	if path.text == "" || l.bad["merchants-file"] {
		return nil
	}
	data, err := l.src.ReadFile(path.text)
	if err != nil {
		l.faults = append(l.faults, unreadable("merchants-file", path, err))
		return nil
	}
	doc := &document{path: path.text}
	merchants := doc.merchants(data)
	l.faults = append(l.faults, doc.faults...)
	return merchants
}

// joinMerchants puts the merchant of the settings first. Where they name a merchant of the file and
// say nothing else, they choose the default among the file's.
func (l *loader) joinMerchants(fromFile []Merchant) {
	for i := range fromFile {
		if fromFile[i].TopicJobs == "" {
			fromFile[i].TopicJobs = l.c.TopicJobs
		}
	}
	if l.c.MchID == "" {
		l.c.Merchants = fromFile
		return
	}
	same := slices.IndexFunc(fromFile, func(m Merchant) bool { return m.MchID == l.c.MchID })
	if same >= 0 && l.c.onlyMchID() {
		chosen := fromFile[same]
		l.c.Merchants = append([]Merchant{chosen}, slices.Delete(fromFile, same, same+1)...)
		return
	}
	l.c.Merchants = append([]Merchant{l.c.flatMerchant()}, fromFile...)
}

func (c *Config) onlyMchID() bool {
	return c.CertSerial == "" && c.PrivateKeyFile == "" && c.PublicKeyID == "" && c.PublicKeyFile == ""
}

// flatMerchant is the merchant of the settings.
func (c *Config) flatMerchant() Merchant {
	return Merchant{
		MchID: c.MchID, CertSerial: c.CertSerial, PrivateKeyFile: c.PrivateKeyFile,
		PublicKeyID: c.PublicKeyID, PublicKeyFile: c.PublicKeyFile, TopicJobs: c.TopicJobs,
		flat: true, entryNotes: entryNotes{origins: c.origins},
	}
}

// entryNotes says where an entry of merchants-file and its parts stand.
type entryNotes struct {
	where   string
	origins map[string]Origin // "" is the entry as a whole
	bad     map[string]bool   // parts with a fault already
}

func (d *document) notes(node *yaml.Node, where string) entryNotes {
	return entryNotes{where: where, origins: map[string]Origin{"": d.origin(node)}, bad: map[string]bool{}}
}

// origin says where a part of an entry stands, or the entry where it has no such part.
func (n entryNotes) origin(name string) Origin {
	if o, found := n.origins[name]; found {
		return o
	}
	return n.origins[""]
}

// merchants reads the list in the file.
func (d *document) merchants(data []byte) []Merchant {
	root := d.root(data)
	entries := d.entries(root, []string{"merchants"}, "")
	if len(entries) == 0 {
		if len(d.faults) == 0 {
			d.faults = append(d.faults, &Fault{
				Name: "merchants", Origin: Origin{Kind: FromFile, Name: d.path},
				Rule: "is missing", Do: "write `merchants:` and a list under it",
			})
		}
		return nil
	}
	list := entries[0].value
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		d.fault("merchants", list, "is not a list", "write each merchant with a dash: `- mchid: ...`")
		return nil
	}
	var merchants []Merchant
	for i, item := range list.Content {
		where := fmt.Sprintf("merchants[%d]", i)
		item = resolve(item)
		if item.Kind != yaml.MappingNode {
			d.fault(where, item, "is not made of lines `name: value`", "")
			continue
		}
		merchants = append(merchants, d.merchant(item, where))
	}
	return merchants
}

// merchant reads one entry. Its rules are Validate's business.
func (d *document) merchant(node *yaml.Node, where string) Merchant {
	m := Merchant{entryNotes: d.notes(node, where)}
	fields := map[string]*string{}
	known := []string{}
	for _, f := range m.fields() {
		fields[f.name] = f.text
		known = append(known, f.name)
	}
	known = append(known, "answer-keys")
	for _, e := range d.entries(node, known, where+".") {
		m.origins[e.key] = d.origin(e.value)
		if e.key == "answer-keys" {
			m.AnswerKeys = d.answerKeys(e.value, where+".answer-keys")
			continue
		}
		if text, ok := d.scalar(where+"."+e.key, e.value, false); ok {
			*fields[e.key] = text
		} else {
			m.bad[e.key] = true
		}
	}
	return m
}

func (d *document) answerKeys(node *yaml.Node, where string) []AnswerKey {
	if node.Kind != yaml.SequenceNode {
		d.fault(where, node, "is not a list", "write each key with a dash: `- {id: PUB_KEY_ID_..., file: ...}`")
		return nil
	}
	var keys []AnswerKey
	for i, item := range node.Content {
		at := fmt.Sprintf("%s[%d]", where, i)
		item = resolve(item)
		if item.Kind != yaml.MappingNode {
			d.fault(at, item, "is not made of id and file", "write it as `- {id: PUB_KEY_ID_..., file: ...}`")
			continue
		}
		k := AnswerKey{entryNotes: d.notes(item, at)}
		for _, e := range d.entries(item, []string{"id", "file"}, at+".") {
			k.origins[e.key] = d.origin(e.value)
			text, ok := d.scalar(at+"."+e.key, e.value, false)
			switch {
			case !ok:
				k.bad[e.key] = true
			case e.key == "id":
				k.ID = text
			default:
				k.File = text
			}
		}
		keys = append(keys, k)
	}
	return keys
}

// merchantField is one text of a merchant, its rule, and whether a merchant can be without it.
type merchantField struct {
	name     string
	text     *string
	test     func(text string) rule
	optional bool
}

func (m *Merchant) fields() []merchantField {
	return []merchantField{
		{name: "mchid", text: &m.MchID, test: mchIDPattern().check},
		{name: "cert-serial", text: &m.CertSerial, test: certSerialPattern().check},
		{name: "private-key-file", text: &m.PrivateKeyFile, test: checkPath},
		{name: "public-key-id", text: &m.PublicKeyID, test: publicKeyIDPattern().check},
		{name: "public-key-file", text: &m.PublicKeyFile, test: checkPath},
		{name: "topic-jobs", text: &m.TopicJobs, test: checkTopic, optional: true},
	}
}
