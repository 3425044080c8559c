package wxsim

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	bundleFile = "simulator.json"
	dirMode    = 0o700
)

// bundle is the one file that counts: all secrets of a directory. It is written once and whole, so
// that however many processes prepare a directory, or die while they do, all use the same keys. The
// other files are copies of its parts.
type bundle struct {
	Version     int    `json:"version"`
	CertSerial  string `json:"cert_serial"`
	MerchantKey string `json:"merchant_key"`
	PlatformKey string `json:"platform_key"`
	CAKey       string `json:"ca_key"`
	CACert      string `json:"ca_cert"`
}

const bundleVersion = 1

// Prepare makes the materials in a directory, or reads those that are there, and writes the files
// that a client needs. The directory is made where it is missing, readable by its owner only, as are
// the files. MchID, PublicKeyID, Hosts and the URLs may differ from one time to the next.
func Prepare(dir string, p Params) (*Materials, error) {
	m, err := prepare(dir, p)
	if err != nil {
		return nil, fmt.Errorf("simulator directory %s: %w", dir, err)
	}
	return m, nil
}

func prepare(dir string, p Params) (*Materials, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("absolute path: %w", err)
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, err //nolint:wrapcheck // It names the path.
	}
	m, err := readBundle(dir, p)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createBundle(dir, p); err == nil {
			m, err = readBundle(dir, p)
		}
	}
	if err != nil {
		return nil, err
	}
	return m, m.writeFiles(dir, p)
}

func readBundle(dir string, p Params) (*Materials, error) {
	text, err := os.ReadFile(filepath.Join(dir, bundleFile))
	if err != nil {
		return nil, err //nolint:wrapcheck // It names the path.
	}
	var b bundle
	m := &Materials{MchID: p.MchID, PublicKeyID: p.PublicKeyID}
	err = json.Unmarshal(text, &b)
	if err == nil && (b.Version != bundleVersion || b.CertSerial == "") {
		err = fmt.Errorf("version %d, want %d", b.Version, bundleVersion)
	}
	if err == nil {
		err = m.load(b, p)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove the file to start with new keys", bundleFile, err)
	}
	return m, nil
}

func (m *Materials) load(b bundle, p Params) (err error) {
	m.CertSerial = b.CertSerial
	if m.MerchantKey, err = readPrivate[*rsa.PrivateKey]([]byte(b.MerchantKey)); err != nil {
		return fmt.Errorf("merchant key: %w", err)
	}
	if m.PlatformKey, err = readPrivate[*rsa.PrivateKey]([]byte(b.PlatformKey)); err != nil {
		return fmt.Errorf("platform key: %w", err)
	}
	if m.ca, err = readAuthority([]byte(b.CACert), []byte(b.CAKey), p.Now()); err != nil {
		return err
	}
	return m.certify(p)
}

// createBundle writes new keys, unless another process is first; then its keys stay.
func createBundle(dir string, p Params) error {
	m, err := Generate(p)
	if err != nil {
		return err
	}
	merchant, errMerchant := privatePEM(m.MerchantKey)
	platform, errPlatform := privatePEM(m.PlatformKey)
	if err := errors.Join(errMerchant, errPlatform); err != nil {
		return err
	}
	text, err := json.MarshalIndent(bundle{
		Version: bundleVersion, CertSerial: m.CertSerial, MerchantKey: string(merchant), PlatformKey: string(platform),
		CAKey: string(m.ca.keyPEM), CACert: string(m.ca.certPEM),
	}, "", " ")
	if err != nil {
		return fmt.Errorf("%s: %w", bundleFile, err)
	}
	temp, err := writeTemp(dir, text)
	if err != nil {
		return err
	}
	defer os.Remove(temp) //nolint:errcheck // After a rename it is gone.
	target := filepath.Join(dir, bundleFile)
	if err = os.Link(temp, target); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(temp, target) //nolint:wrapcheck // For file systems without links. It names the paths.
}

func (m *Materials) writeFiles(dir string, p Params) error {
	m.Files = Files{
		Dir:         dir,
		CA:          filepath.Join(dir, "ca.pem"),
		MerchantKey: filepath.Join(dir, "merchant_key.pem"),
		PublicKey:   filepath.Join(dir, "wechatpay_public_key.pem"),
		Env:         filepath.Join(dir, "replyworker.env"),
	}
	merchant, errMerchant := m.MerchantKeyPEM()
	public, errPublic := m.PublicKeyPEM()
	if err := errors.Join(errMerchant, errPublic); err != nil {
		return err
	}
	return errors.Join(
		replaceFile(m.Files.CA, m.CAPEM),
		replaceFile(m.Files.MerchantKey, merchant),
		replaceFile(m.Files.PublicKey, public),
		m.WriteEnv(p.PrimaryURL, p.BackupURL),
	)
}

// WriteEnv writes replyworker.env anew, for URLs that are known only when the servers listen.
func (m *Materials) WriteEnv(primaryURL, backupURL string) error {
	if m.Files.Env == "" {
		return errors.New("environment file: the materials are in memory only")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Settings with which the worker calls this simulator; written anew at each start.\n"+
		"# In a shell: set -a; . %s; set +a\n", shellWord(m.Files.Env))
	for _, setting := range m.env(primaryURL, backupURL) {
		if strings.ContainsAny(setting[1], "\r\n\x00") {
			return fmt.Errorf("environment file: %s has a line break", setting[0])
		}
		fmt.Fprintf(&b, "%s=%s\n", setting[0], shellWord(setting[1]))
	}
	return replaceFile(m.Files.Env, []byte(b.String()))
}

func (m *Materials) env(primaryURL, backupURL string) [][2]string {
	return [][2]string{
		{"REPLYWORKER_MCHID", m.MchID},
		{"REPLYWORKER_CERT_SERIAL", m.CertSerial},
		{"REPLYWORKER_PRIVATE_KEY_FILE", m.Files.MerchantKey},
		{"REPLYWORKER_PUBLIC_KEY_ID", m.PublicKeyID},
		{"REPLYWORKER_PUBLIC_KEY_FILE", m.Files.PublicKey},
		{"REPLYWORKER_PRIMARY_URL", primaryURL},
		{"REPLYWORKER_BACKUP_URL", backupURL},
		{"REPLYWORKER_API_CA_FILE", m.Files.CA},
	}
}

// shellWord quotes what a shell would not take as it is. "docker run --env-file" takes no quotes, so
// there the directory's path must need none.
func shellWord(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
	if text != "" && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// replaceFile writes a file whole or not at all, and leaves one alone that is right.
func replaceFile(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	temp, err := writeTemp(filepath.Dir(path), content)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// writeTemp writes a new file, readable by its owner only.
func writeTemp(dir string, content []byte) (string, error) {
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return "", err //nolint:wrapcheck // It names the path.
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
