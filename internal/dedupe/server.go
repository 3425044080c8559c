package dedupe

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// Server tells where Redis is: one server, a Cluster, or the master that Sentinel knows. Printing it
// shows neither user nor password, whatever the verb.
type Server struct {
	// Addrs are host:port: of the server; of some nodes of the Cluster, one of which is enough to find
	// the others; or of the sentinels. At least one; exactly one without Cluster and Master.
	Addrs []string
	// Cluster says that Addrs lead to a Redis Cluster.
	Cluster bool
	// Master is the name by which Sentinel knows the master; "" without Sentinel. Not with Cluster.
	Master string
	// TLS is for all connections, those to sentinels too.
	TLS bool
	// Username and Password are the server's own; sentinels are asked without. An empty Username is
	// the default user, an empty Password none.
	Username, Password string
	// DB is the database's number, 0 for a Cluster.
	DB int
}

// String is the redis-url without user and password.
func (s Server) String() string {
	scheme, path := "redis", fmt.Sprintf("/%d", s.DB)
	if s.TLS {
		scheme = "rediss"
	}
	switch {
	case s.Cluster:
		scheme, path = scheme+"+cluster", ""
	case s.Master != "":
		scheme, path = scheme+"+sentinel", "/"+s.Master+path
	}
	return scheme + "://" + strings.Join(s.Addrs, ",") + path
}

// GoString is String: %#v prints no secrets either.
func (s Server) GoString() string { return s.String() }

func (s Server) validate() error {
	switch {
	case len(s.Addrs) == 0:
		return errors.New("no address")
	case s.Cluster && s.Master != "":
		return errors.New("a Cluster has no Sentinel")
	case s.Cluster && s.DB != 0:
		return errors.New("a Cluster has database 0 only")
	case !s.Cluster && s.Master == "" && len(s.Addrs) > 1:
		return errors.New("several addresses are for a Cluster or Sentinel")
	case s.DB < 0:
		return fmt.Errorf("database %d is negative", s.DB)
	}
	for i, addr := range s.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("address %d is not host:port", i+1)
		}
	}
	return nil
}
