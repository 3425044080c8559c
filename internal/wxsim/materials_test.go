package wxsim_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

var small = wxsim.Params{KeyBits: 1024} // Quick to make.

func TestPrepareMakesThenReadsAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "simulator")
	p := small
	p.Hosts = []string{"simulator", "10.0.0.7"}
	first, err := wxsim.Prepare(dir, p)
	require.NoError(t, err)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	before := readDir(t, dir)
	require.Len(t, before, 5)

	second, err := wxsim.Prepare(dir, p)
	require.NoError(t, err)
	require.True(t, first.MerchantKey.Equal(second.MerchantKey))
	require.True(t, first.PlatformKey.Equal(second.PlatformKey))
	require.Equal(t, first.CertSerial, second.CertSerial)
	require.Regexp(t, `^[0-9A-F]{40}$`, first.CertSerial)
	require.Equal(t, before, readDir(t, dir))

	// The first start's CA vouches for the second start's certificate, for all names.
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(first.CAPEM))
	leaf, err := x509.ParseCertificate(second.Certificate.Certificate[0])
	require.NoError(t, err)
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "simulator", "10.0.0.7"} {
		require.NoError(t, leaf.VerifyHostname(host))
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool})
	require.NoError(t, err)
}

func readDir(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := map[string]string{}
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		out[e.Name()] = string(text)
	}
	return out
}

func TestPreparedFilesAreTheMaterials(t *testing.T) {
	t.Parallel()
	m, err := wxsim.Prepare(t.TempDir(), wxsim.Params{MchID: "1900000077", PublicKeyID: "PUB_KEY_ID_7", KeyBits: 1024})
	require.NoError(t, err)
	private, err := x509.ParsePKCS8PrivateKey(pemFile(t, m.Files.MerchantKey, "PRIVATE KEY"))
	require.NoError(t, err)
	require.True(t, m.MerchantKey.Equal(private))
	public, err := x509.ParsePKIXPublicKey(pemFile(t, m.Files.PublicKey, "PUBLIC KEY"))
	require.NoError(t, err)
	require.True(t, m.PlatformKey.PublicKey.Equal(public))
	pemFile(t, m.Files.CA, "CERTIFICATE")
	require.Contains(t, m.Config().Merchants, "1900000077")
	require.Equal(t, "PUB_KEY_ID_7", m.Config().AnswerKeyID)
}

func pemFile(t *testing.T, path, kind string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	block, rest := pem.Decode(text)
	require.NotNil(t, block)
	require.Empty(t, rest)
	require.Equal(t, kind, block.Type)
	return block.Bytes
}

func TestEnvironmentFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain", "it's a $HOME `dir` \"q\""} {
		dir := filepath.Join(t.TempDir(), name)
		m, err := wxsim.Prepare(dir, small)
		require.NoError(t, err)
		require.NoError(t, m.WriteEnv("https://127.0.0.1:1", "https://127.0.0.1:2"))
		if name == "plain" {
			text, err := os.ReadFile(m.Files.Env)
			require.NoError(t, err)
			require.NotContains(t, string(text), "'")
		}
		shell := exec.CommandContext(t.Context(), "/bin/sh", "-c", `set -a; . "$1"; env -0`, "sh", m.Files.Env)
		shell.Env = []string{"PATH=" + os.Getenv("PATH")}
		out, err := shell.Output()
		require.NoError(t, err)
		got := map[string]string{}
		for line := range strings.SplitSeq(string(out), "\x00") {
			if key, value, _ := strings.Cut(line, "="); strings.HasPrefix(key, "REPLYWORKER_") {
				got[key] = value
			}
		}
		require.Equal(t, map[string]string{
			"REPLYWORKER_MCHID":            "1900000001",
			"REPLYWORKER_CERT_SERIAL":      m.CertSerial,
			"REPLYWORKER_PRIVATE_KEY_FILE": filepath.Join(dir, "merchant_key.pem"),
			"REPLYWORKER_PUBLIC_KEY_ID":    "PUB_KEY_ID_0000000000000000000000000000000001",
			"REPLYWORKER_PUBLIC_KEY_FILE":  filepath.Join(dir, "wechatpay_public_key.pem"),
			"REPLYWORKER_PRIMARY_URL":      "https://127.0.0.1:1",
			"REPLYWORKER_BACKUP_URL":       "https://127.0.0.1:2",
			"REPLYWORKER_API_CA_FILE":      filepath.Join(dir, "ca.pem"),
		}, got)
	}
}

func TestPrepareByManyAtOnceAgrees(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := make([]*wxsim.Materials, 8)
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i], errs[i] = wxsim.Prepare(dir, small) })
	}
	wg.Wait()
	for i, m := range all {
		require.NoError(t, errs[i])
		require.True(t, all[0].MerchantKey.Equal(m.MerchantKey))
		require.Equal(t, all[0].CAPEM, m.CAPEM)
	}
	files := readDir(t, dir)
	require.Len(t, files, 5, "no temporary files stay: %v", files)
	public, err := all[0].PublicKeyPEM()
	require.NoError(t, err)
	require.Equal(t, string(public), files["wechatpay_public_key.pem"])
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := wxsim.Prepare(dir, small)
	require.NoError(t, err)
	later := small
	later.Now = func() time.Time { return time.Now().AddDate(11, 0, 0) }
	_, err = wxsim.Prepare(dir, later)
	require.ErrorContains(t, err, "expired")
	require.ErrorContains(t, err, "remove the file")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "simulator.json"), []byte(`{"version":2}`), 0o600))
	_, err = wxsim.Prepare(dir, small)
	require.ErrorContains(t, err, "version 2")
	_, err = wxsim.Prepare(filepath.Join(dir, "ca.pem"), small)
	require.ErrorContains(t, err, "ca.pem")
	_, err = wxsim.Prepare(t.TempDir()+"/a\nb", small)
	require.ErrorContains(t, err, "line break")
	_, err = wxsim.Generate(wxsim.Params{KeyBits: 512})
	require.ErrorContains(t, err, "512")
	m, err := wxsim.Generate(small)
	require.NoError(t, err)
	require.ErrorContains(t, m.WriteEnv("a", "b"), "memory")
}
