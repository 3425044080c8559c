package wxclient_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

func TestNewChecksTheConfiguration(t *testing.T) {
	t.Parallel()
	const good = "https://api.mch.weixin.qq.com"
	for _, tc := range []struct {
		name string
		cfg  wxclient.Config
		want []string // nil: accepted
	}{
		{"defaults", wxclient.Config{PrimaryURL: good}, nil},
		{"port and trailing slash", wxclient.Config{PrimaryURL: good + ":8443/"}, nil},
		{"http to 127.0.0.1", wxclient.Config{PrimaryURL: "http://127.0.0.1:8080"}, nil},
		{"http to ::1", wxclient.Config{PrimaryURL: "http://[::1]:8080"}, nil},
		{"http to localhost", wxclient.Config{PrimaryURL: "http://localhost"}, nil},
		{"nothing", wxclient.Config{}, []string{"primary-url: must be https://HOST"}},
		{"http elsewhere", wxclient.Config{PrimaryURL: "http://192.0.2.1"}, []string{"loopback"}},
		{"http to a name like an address", wxclient.Config{PrimaryURL: "http://127.0.0.1.example.com"}, []string{"loopback"}},
		{"scheme", wxclient.Config{PrimaryURL: "ftp://h"}, []string{`scheme "ftp"`}},
		{"no scheme", wxclient.Config{PrimaryURL: "api.mch.weixin.qq.com"}, []string{"must be https://HOST"}},
		{"opaque", wxclient.Config{PrimaryURL: "https:api"}, []string{"must be https://HOST"}},
		{"path", wxclient.Config{PrimaryURL: good + "/proxy"}, []string{"no path"}},
		{"query", wxclient.Config{PrimaryURL: good + "?a=b"}, []string{"no query"}},
		{"empty query", wxclient.Config{PrimaryURL: good + "?"}, []string{"no query"}},
		{"fragment", wxclient.Config{PrimaryURL: good + "#"}, []string{"no fragment"}},
		{"user", wxclient.Config{PrimaryURL: "https://u:secret@h"}, []string{"user name"}},
		{"not a URL", wxclient.Config{PrimaryURL: "https://u:secret@h:x y"}, []string{"primary-url: not a URL"}},
		{"port 0", wxclient.Config{PrimaryURL: good + ":0"}, []string{"port"}},
		{"port too large", wxclient.Config{PrimaryURL: good + ":65536"}, []string{"port"}},
		{"port missing", wxclient.Config{PrimaryURL: good + ":"}, []string{"port"}},
		{"user agent", wxclient.Config{PrimaryURL: good, UserAgent: "a\nb"}, []string{"user agent"}},
		{
			"all at once",
			wxclient.Config{PrimaryURL: "ftp://h/x", BackupURL: "http://h", Timeout: -time.Second, MaxConns: -1},
			[]string{"primary-url: scheme", "primary-url: must have no path", "backup-url", "request-timeout", "connections"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := wxclient.New(tc.cfg)
			if tc.want == nil {
				require.NoError(t, err)
				require.False(t, c.HasBackup())
				c.Close()
				return
			}
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestHasBackup(t *testing.T) {
	t.Parallel()
	c := newClient(t, wxclient.Config{BackupURL: "https://backup.invalid"})
	require.True(t, c.HasBackup())
}

func TestNamesAreStable(t *testing.T) {
	t.Parallel()
	var names []string
	for _, class := range wxclient.Classes() {
		names = append(names, class.String())
	}
	require.Equal(t, []string{
		"unknown", "unknown_key", "host_failed", "transient", "slow_down", "credentials", "refused", "canceled",
	}, names)
	require.Equal(t, "class(0)", wxclient.Class(0).String())
	require.Equal(t, []string{"primary", "backup", "host(2)"},
		[]string{wxclient.Primary.String(), wxclient.Backup.String(), wxclient.Host(2).String()})
}
