package config_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
)

func TestReload(t *testing.T) {
	t.Parallel()
	files := memory{"m.yaml": twoMerchants, "worker.yaml": "rate: 3\nmerchants-file: m.yaml\nmchid: 1900000002\n"}
	c, err := load(t, []string{"--concurrency=7"}, []string{"REPLYWORKER_LOG_LEVEL=warn"}, files)
	require.NoError(t, err)
	require.Equal(t, []string{"m.yaml", "one.pem", "one.pub", "two.pem", "two.pub", "worker.yaml", "zero.pub"}, c.MerchantFiles())
	same, pending, err := c.Reload()
	require.NoError(t, err)
	require.Empty(t, pending)
	require.Equal(t, c.Merchants, same.Merchants)

	files["m.yaml"] = "merchants:\n- {mchid: 9, cert-serial: AB, private-key-file: k, public-key-id: P, public-key-file: p}\n"
	files["worker.yaml"] = "rate: 4\nmerchants-file: m.yaml\ntopic-jobs: jobs-2\nconcurrency: 8\n"
	next, pending, err := c.Reload()
	require.NoError(t, err)
	require.Equal(t, []string{"topic-jobs", "rate"}, pending, "what needs a restart; the flag is stronger than the file")
	require.Equal(t, []string{"9"}, mchIDs(next))
	require.Equal(t, []string{"reply-jobs"}, next.JobsTopics(), "the shared topic stays")
	require.InDelta(t, 3, next.Rate, 0)
	require.Equal(t, 7, next.Concurrency)
	m, found := next.DefaultMerchant()
	require.True(t, found)
	require.Equal(t, "9", m.MchID)
	require.Equal(t, []string{"1900000002", "1900000001"}, mchIDs(c), "the old one stays as it is")

	for name, change := range map[string]memory{
		"a file that is gone":          {"m.yaml": ""},
		"half a file":                  {"m.yaml": "merchants:\n- mchid: 9\n  cert-ser"},
		"a default that is nowhere":    {"worker.yaml": "merchants-file: m.yaml\nmchid: 8\n"},
		"no merchant":                  {"worker.yaml": "rate: 3\n"},
		"another setting with a fault": {"worker.yaml": "merchants-file: m.yaml\nrate: fast\n"},
		"an own topic that is not jobs'": {"m.yaml": files["m.yaml"] + "\n- {mchid: 8, cert-serial: AB, private-key-file: k, " +
			"public-key-id: P, public-key-file: p, topic-jobs: reply-outcomes}\n"},
	} {
		before := memory{"m.yaml": files["m.yaml"], "worker.yaml": files["worker.yaml"]}
		for file, text := range change {
			files[file] = text
			if text == "" {
				delete(files, file)
			}
		}
		_, _, err := c.Reload()
		require.Error(t, err, name)
		require.NotEmpty(t, faults(err), name)
		maps.Copy(files, before)
	}
}

func mchIDs(c *config.Config) []string {
	var all []string
	for _, m := range c.Merchants {
		all = append(all, m.MchID)
	}
	return all
}
