package config

import (
	"fmt"
	"slices"
)

// merchantSettingNames are the settings that Reload takes anew: those of merchants and their keys.
func merchantSettingNames() []string {
	return []string{"mchid", "cert-serial", "private-key-file", "public-key-id", "public-key-file", "merchants-file"}
}

// Reload reads the sources of a loaded configuration again and returns one that has their merchants, and
// everything else as it was; c itself stays as it is. Its error has every fault, as Load's and
// RequireMerchant's. pending names the other settings that have changed in the configuration file, which
// need a restart. A configuration that was not loaded has no sources, and is returned as it is.
func (c *Config) Reload() (next *Config, pending []string, err error) {
	if c.src.Flags == nil && c.src.Env == nil {
		return c, nil, nil
	}
	from, err := Load(c.src)
	if err == nil {
		err = from.RequireMerchant()
	}
	if err != nil {
		return nil, nil, err
	}
	for _, s := range Settings() {
		if !slices.Contains(merchantSettingNames(), s.Name) && s.value.text(c) != s.value.text(from) {
			pending = append(pending, s.Name)
		}
	}
	copied := *c
	next = &copied
	next.MchID, next.CertSerial, next.PrivateKeyFile = from.MchID, from.CertSerial, from.PrivateKeyFile
	next.PublicKeyID, next.PublicKeyFile, next.MerchantsFile = from.PublicKeyID, from.PublicKeyFile, from.MerchantsFile
	next.Merchants = from.Merchants
	for i := range next.Merchants {
		if m := &next.Merchants[i]; m.TopicJobs == from.TopicJobs {
			m.TopicJobs = c.TopicJobs // the shared one, which needs a restart to change
		}
	}
	if err := next.Validate(); err != nil {
		return nil, nil, fmt.Errorf("together with the settings that are in use: %w", err)
	}
	return next, pending, nil
}

// MerchantFiles returns the paths of the files that Reload and the reading of merchants' keys open, each
// once: the configuration file, merchants-file and every key.
func (c *Config) MerchantFiles() []string {
	paths := []string{c.file, c.MerchantsFile}
	for _, m := range c.Merchants {
		paths = append(paths, m.PrivateKeyFile, m.PublicKeyFile)
		for _, k := range m.AnswerKeys {
			paths = append(paths, k.File)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if len(paths) > 0 && paths[0] == "" {
		paths = paths[1:]
	}
	return paths
}
