package wxsim_test

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

func TestHostDownRefusesAndComesBackOnItsPort(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	first := w.good(t, wxsim.Primary, "id").logID(t)
	for range 3 {
		require.NoError(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindDown, Host: wxsim.Primary}))
		for range 3 {
			require.ErrorIs(t, w.good(t, wxsim.Primary, "id").err, syscall.ECONNREFUSED)
		}
		require.Equal(t, first, w.good(t, wxsim.Backup, "id").logID(t))
		require.NoError(t, w.sim.Clear())
		require.Equal(t, first, w.good(t, wxsim.Primary, "id").logID(t))
	}
}

func TestBothHostsDownForAWhile(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	require.NoError(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindDown, For: 50 * time.Millisecond}))
	require.Eventually(t, func() bool { return len(w.sim.Faults()) == 0 }, 5*time.Second, time.Millisecond)
	for _, host := range []wxsim.Host{wxsim.Primary, wxsim.Backup} {
		require.Eventually(t, func() bool { return w.good(t, host, "id").status == http.StatusOK }, 5*time.Second, time.Millisecond)
	}
}

func TestGoingDownResetsCallsInFlight(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	require.NoError(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindHang, AfterEffect: true}))
	done := w.start(t.Context(), t, wxsim.Primary, newCall(t, "c-id", "id"))
	require.Eventually(t, func() bool { return len(w.sim.Effects()) == 1 }, 5*time.Second, time.Millisecond)
	require.NoError(t, w.sim.Add(wxsim.Fault{Kind: wxsim.KindDown, Host: wxsim.Primary}))
	require.ErrorIs(t, (<-done).err, syscall.ECONNRESET)
}

func TestDownWithoutServersResets(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindDown}))
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { direct(t, sim, wxsim.Primary, newCall(t, "c", "id")) })
	require.Empty(t, sim.Effects())
}

func TestListenUnderGivenMaterials(t *testing.T) {
	t.Parallel()
	m := keys(t)
	sim := newSim(t)
	require.NoError(t, sim.Set(wxsim.Fault{Kind: wxsim.KindDown, Host: wxsim.Backup}))
	servers, err := sim.Listen(wxsim.ListenParams{PrimaryAddr: "localhost:0", Certificate: m.Certificate, CAPEM: m.CAPEM})
	require.NoError(t, err)
	w := &wire{sim: sim, servers: servers, client: newClient(t, m.CAPEM)}
	w.good(t, wxsim.Primary, "id").logID(t)
	require.ErrorIs(t, w.good(t, wxsim.Backup, "id").err, syscall.ECONNREFUSED)
	u, err := url.Parse(servers.PrimaryURL)
	require.NoError(t, err)
	w.servers.PrimaryURL = "https://localhost:" + u.Port()
	w.good(t, wxsim.Primary, "id").logID(t)
}

func TestListenOnAllAddressesIsReachedByName(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	servers, err := sim.Listen(wxsim.ListenParams{PrimaryAddr: ":0"})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(servers.PrimaryURL, "https://localhost:"), servers.PrimaryURL)
}

func TestListenSaysWhichAddressIsTaken(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	taken := strings.TrimPrefix(w.servers.PrimaryURL, "https://")
	other := newSim(t)
	_, err := other.Listen(wxsim.ListenParams{BackupAddr: taken})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, "listen for backup")
	require.ErrorContains(t, err, taken)
	_, err = other.Listen(wxsim.ListenParams{PrimaryAddr: "nonsense"})
	require.ErrorContains(t, err, "nonsense")
}

func TestAfterCloseNothingStarts(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	require.NoError(t, w.sim.Close())
	require.NoError(t, w.sim.Close())
	require.ErrorIs(t, w.good(t, wxsim.Primary, "id").err, syscall.ECONNREFUSED)
	_, err := w.sim.Listen(wxsim.ListenParams{})
	require.ErrorContains(t, err, "closed")
	require.ErrorContains(t, w.sim.Set(wxsim.Fault{Kind: wxsim.KindHang}), "closed")
	require.Panics(t, func() { direct(t, w.sim, wxsim.Primary, newCall(t, "c", "id")) })
}

func TestConnectionsAreHTTP1AndKept(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	transport, ok := w.client.Transport.(*http.Transport)
	require.True(t, ok)
	transport.ForceAttemptHTTP2 = true
	transport.TLSClientConfig.NextProtos = []string{"h2", "http/1.1"}
	var state *tls.ConnectionState
	for range 2 {
		c := newCall(t, "c", "id")
		c.sign(t)
		req, err := http.NewRequestWithContext(t.Context(), c.method, w.servers.PrimaryURL+c.target, strings.NewReader(c.body))
		require.NoError(t, err)
		req.Header = c.header
		res, err := w.client.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 1, res.ProtoMajor)
		state = res.TLS
	}
	require.Equal(t, "http/1.1", state.NegotiatedProtocol)
}
