package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"time"

	"replyworker/internal/wxclient"
)

const (
	// The API refuses calls whose time is 5 minutes or more from its own.
	skewWarned = 60 * time.Second
	skewFailed = 240 * time.Second
	// hostCertificate is how long before its end a host's certificate is usually renewed.
	hostCertificate = 14 * 24 * time.Hour
)

func (c Config) hosts(ctx context.Context) []Result {
	var l list
	api, err := c.API()
	if err != nil {
		l.failed("primary", err.Error(), "check primary-url, backup-url and api-ca-file")
		l.skipped("there is no client for the hosts", "primary certificate", "primary clock", "backup", "backup certificate",
			"backup clock")
		return l
	}
	defer api.Close()
	var primary, backup list
	var looking sync.WaitGroup
	looking.Go(func() { c.host(ctx, &primary, api, wxclient.Primary) })
	if api.HasBackup() {
		looking.Go(func() { c.host(ctx, &backup, api, wxclient.Backup) })
	} else {
		backup.warned("backup", "there is none: while the primary is out, all jobs wait", "set backup-url, unless there is only one host")
	}
	looking.Wait()
	return append(primary, backup...)
}

func (c Config) host(ctx context.Context, l *list, api API, host wxclient.Host) {
	name, certificate, clock := host.String(), host.String()+" certificate", host.String()+" clock"
	sight, err := api.Look(ctx, host)
	if err != nil {
		l.failed(name, fmt.Sprintf("%s: %s", sight.Host, c.timed(ctx, err)), hostHint(host, sight, err))
		l.skipped("the host does not answer", certificate, clock)
		return
	}
	l.passed(name, "%s", sightText(sight))
	c.certificate(l, certificate, sight)
	judgeClock(l, clock, sight)
}

func sightText(s wxclient.Sight) string {
	text := s.Host
	if s.Address != "" && s.Address != s.Host {
		text += " at " + s.Address
	}
	if s.Proxied {
		text += " (a proxy's)"
	}
	if s.TLS != nil {
		text += ", " + tls.VersionName(s.TLS.Version)
	}
	return text + fmt.Sprintf(", HTTP %d in %s", s.Status, s.Round.Round(100*time.Microsecond))
}

func hostHint(host wxclient.Host, sight wxclient.Sight, err error) string {
	setting := host.String() + "-url"
	look, ok := err.(*wxclient.LookError) //nolint:errorlint // it is what Look returns
	if !ok {
		return ""
	}
	if sight.Proxied && look.Step != wxclient.StepTLS {
		return "a proxy stands between: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and the proxy"
	}
	switch {
	case look.Step == wxclient.StepProxy:
		return "mend HTTPS_PROXY, HTTP_PROXY or NO_PROXY"
	case look.Step == wxclient.StepName:
		return "check " + setting + " and this machine's DNS"
	case look.Step == wxclient.StepConnect:
		return "check " + setting + ", and that firewalls let this machine connect to it"
	case look.Step == wxclient.StepTLS && strings.Contains(look.Error(), "expired"):
		return "check this machine's clock; if it is right, the host's certificate is over"
	case look.Step == wxclient.StepTLS:
		return "check " + setting + " and api-ca-file: is the certificate the host's own, or that of something between?"
	}
	return "check " + setting + ": what listens there does not answer as a web server"
}

func (c Config) certificate(l *list, name string, s wxclient.Sight) {
	if s.TLS == nil || len(s.TLS.PeerCertificates) == 0 {
		l.skipped("plain http, which is for simulators", name)
		return
	}
	cert := s.TLS.PeerCertificates[0]
	left := cert.NotAfter.Sub(c.Now())
	text := fmt.Sprintf("until %s (%s), issued by %s", cert.NotAfter.UTC().Format(time.DateOnly), days(left),
		issuer(cert.Issuer.CommonName))
	if left < hostCertificate {
		l.warned(name, text, "the host's operator should renew it soon; where the issuer is not a public one, that is you")
		return
	}
	l.passed(name, "%s", text)
}

func issuer(name string) string {
	if name == "" {
		return "an unnamed issuer"
	}
	return name
}

// days words a time that is left.
func days(left time.Duration) string { return count(int(left.Hours()/24), "day", "days") }

func judgeClock(l *list, name string, s wxclient.Sight) {
	const hint = "set this machine's clock by NTP; the API refuses calls whose time is 5 minutes or more from its own"
	switch off := s.Ahead.Abs(); {
	case !s.Dated:
		l.warned(name, "the answer has no Date, so that the clocks cannot be compared", "see that this machine's clock is kept by NTP")
	case off > skewFailed:
		l.failed(name, "it is "+skew(s.Ahead), hint)
	case off > skewWarned:
		l.warned(name, "it is "+skew(s.Ahead), hint)
	case off < 2*time.Second:
		l.passed(name, "agrees with ours")
	default:
		l.passed(name, "%s, which the API allows", skew(s.Ahead))
	}
}
