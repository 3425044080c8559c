package inquiry_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"image"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/inquiry"
	"replyworker/internal/wxclient"
	"replyworker/internal/wxsim"
)

// rig is the client and the simulator, which share no code.
type rig struct {
	sim      *wxsim.Sim
	client   *wxclient.Client
	merchant *wxclient.Merchant
	asker    *inquiry.Asker
}

func newRig(t *testing.T, change func(*wxsim.Config)) *rig {
	t.Helper()
	m, err := wxsim.Generate(wxsim.Params{})
	require.NoError(t, err)
	cfg := m.Config()
	if change != nil {
		change(&cfg)
	}
	sim, err := wxsim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	servers, err := sim.Listen(wxsim.ListenParams{Certificate: m.Certificate, CAPEM: m.CAPEM})
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(servers.CAPEM))
	client, err := wxclient.New(wxclient.Config{
		PrimaryURL: servers.PrimaryURL, BackupURL: servers.BackupURL, RootCAs: roots,
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	merchant := &wxclient.Merchant{
		MchID: m.MchID, CertSerial: m.CertSerial, Key: m.MerchantKey, AnswerKeyID: m.PublicKeyID,
		AnswerKeys: map[string]*rsa.PublicKey{m.PublicKeyID: &m.PlatformKey.PublicKey},
	}
	asker := inquiry.New(inquiry.Config{API: client, Merchants: map[string]*wxclient.Merchant{mchID: merchant}})
	return &rig{sim, client, merchant, asker}
}

func (r *rig) reply(t *testing.T, complaintID, id string) string {
	t.Helper()
	body := fmt.Sprintf(`{"complainted_mchid":"1900012181","message":{"custom_data":"ticket %s"},"idempotent_id":%q}`, id, id)
	a, err := r.client.Reply(t.Context(), wxclient.Primary, r.merchant, complaintID, []byte(body))
	require.NoError(t, err)
	return a.LogID
}

func testImage(t *testing.T) *wxclient.Image {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))))
	img, err := wxclient.NewImage("截图.png", b.Bytes())
	require.NoError(t, err)
	return img
}

func TestUploadsToTheSimulator(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	img := testImage(t)
	require.NoError(t, r.sim.Set(
		wxsim.Fault{Kind: wxsim.KindReset, Host: wxsim.Primary, Count: 1, AfterEffect: true},
		wxsim.Fault{Kind: wxsim.KindWrongSignature, Count: 1},
	))
	u, err := r.asker.Upload(t.Context(), mchID, img)
	require.NoError(t, err)
	media := r.sim.Media()
	require.Len(t, media, 3, "each try took effect")
	last := media[2]
	require.Equal(t, u.MediaID, last.MediaID)
	require.Equal(t, img.SHA256, last.SHA256)
	require.Equal(t, img.Filename, last.Filename)
	require.Equal(t, "image/png", last.ContentType)
	require.Empty(t, r.sim.Stats().Refused)
}

func TestHistoryOfTheSimulator(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *wxsim.Config) { c.MaxHistoryBytes = 2000 })
	want := map[string]string{} // custom_data by log_id
	for i := range 30 {
		id := fmt.Sprint("id-", i)
		want[r.reply(t, "c/1 投诉", id)] = `{"custom_data":"ticket ` + id + `"}`
	}
	r.reply(t, "c-2", "other")
	require.NoError(t, r.sim.Set(
		wxsim.Fault{Kind: wxsim.KindPartial, Count: 1},
		wxsim.Fault{Kind: wxsim.KindStaleSignature, Count: 1},
	))
	got := map[string]string{}
	others := 0
	require.NoError(t, r.asker.History(t.Context(), mchID, "c/1 投诉", func(entries []wxclient.HistoryEntry) error {
		for _, e := range entries {
			if e.OperateType == wxclient.OperateMerchantResponse {
				got[e.LogID] = string(e.NormalMessage)
				continue
			}
			others++
		}
		return nil
	}))
	require.Equal(t, want, got)
	require.Equal(t, 1, others, "the user's complaint")

	err := r.asker.History(t.Context(), mchID, "c-3", nil)
	var e *wxclient.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, wxclient.ClassRefused, e.Class)
	require.Equal(t, 404, e.Status)
	require.Equal(t, "RESOURCE_NOT_EXISTS", e.Code)
}
