package doctor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/doctor"
	"replyworker/internal/wxclient"
)

func TestHostsThatCannotBeReached(t *testing.T) {
	t.Parallel()
	for step, hint := range map[wxclient.Step]string{
		wxclient.StepProxy: "HTTPS_PROXY", wxclient.StepName: "DNS", wxclient.StepConnect: "firewalls",
		wxclient.StepTLS: "api-ca-file", wxclient.StepAnswer: "web server",
	} {
		w := newWorld(t)
		w.api.sights[wxclient.Backup] = wxclient.Sight{Host: "api2.mch.weixin.qq.com"}
		w.api.errs[wxclient.Backup] = &wxclient.LookError{Step: step, Err: errors.New("some cause")}
		w.requires(verdict{"backup", doctor.Failed, "api2.mch.weixin.qq.com: " + string(step) + ": some cause", hint},
			"backup certificate", "backup clock")
	}
	w := newWorld(t)
	w.api.errs[wxclient.Primary] = &wxclient.LookError{Step: wxclient.StepTLS, Err: errors.New("certificate has expired")}
	w.requires(verdict{"primary", doctor.Failed, "expired", "this machine's clock"}, "primary certificate", "primary clock")
	w.api.sights[wxclient.Primary] = wxclient.Sight{Host: "api.mch.weixin.qq.com", Proxied: true}
	w.api.errs[wxclient.Primary] = &wxclient.LookError{Step: wxclient.StepConnect, Err: errors.New("Forbidden")}
	w.requires(verdict{"primary", doctor.Failed, "Forbidden", "NO_PROXY"}, "primary certificate", "primary clock")
}

func TestNoBackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.noBackup = true
	w.requires(verdict{"backup", doctor.Warned, "all jobs wait", "backup-url"})
}

func TestClocks(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]verdict{
		0:                  {"primary clock", doctor.Passed, "agrees with ours", ""},
		-59 * time.Second:  {"primary clock", doctor.Passed, "59s behind ours", ""},
		-61 * time.Second:  {"primary clock", doctor.Warned, "1m1s behind ours", "NTP"},
		240 * time.Second:  {"primary clock", doctor.Warned, "4m0s ahead of ours", "NTP"},
		241 * time.Second:  {"primary clock", doctor.Failed, "4m1s ahead of ours", "5 minutes"},
		-100 * time.Minute: {"primary clock", doctor.Failed, "1h40m0s behind ours", "5 minutes"},
	} {
		w := newWorld(t)
		sight := w.api.sights[wxclient.Primary]
		sight.Ahead = ahead
		w.api.sights[wxclient.Primary] = sight
		w.requires(want)
	}
	w := newWorld(t)
	sight := w.api.sights[wxclient.Primary]
	sight.Dated = false
	w.api.sights[wxclient.Primary] = sight
	w.requires(verdict{"primary clock", doctor.Warned, "has no Date", "NTP"})
}

func TestHostCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Equal(t, "until 2027-06-11 (200 days), issued by Some CA", w.results()["primary certificate"].Detail)
	cert := w.api.sights[wxclient.Primary].TLS.PeerCertificates[0]
	cert.NotAfter, cert.Issuer.CommonName = now.Add(13*24*time.Hour), ""
	w.requires(verdict{"primary certificate", doctor.Warned, "(13 days), issued by an unnamed issuer", "renew"})
	sight := w.api.sights[wxclient.Primary]
	sight.TLS = nil
	w.api.sights[wxclient.Primary] = sight
	w.requires(verdict{"primary certificate", doctor.Skipped, "plain http", ""})
}

func TestSightOfAHostBehindAProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sight := w.api.sights[wxclient.Primary]
	sight.Proxied = true
	w.api.sights[wxclient.Primary] = sight
	require.Equal(t, "api.mch.weixin.qq.com at 203.0.113.7:443 (a proxy's), TLS 1.3, HTTP 404 in 23ms", w.results()["primary"].Detail)
}
