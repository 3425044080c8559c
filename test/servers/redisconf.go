package servers

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// quorum is how many sentinels must agree.
const quorum = 2

// configuration returns the redis.conf of a node.
func (r *Redis) configuration(n *node, over map[string]string) string {
	conf := map[string]string{
		"bind": "127.0.0.1", "protected-mode": "no", "daemonize": "no", "port": strconv.Itoa(n.port),
		"dir": quoted(n.dir), "logfile": `""`,
	}
	if r.certs != nil {
		maps.Copy(conf, map[string]string{
			"port": "0", "tls-port": strconv.Itoa(n.port), "tls-auth-clients": "no", "tls-replication": "yes",
			"tls-cert-file": quoted(r.certs.cert), "tls-key-file": quoted(r.certs.key), "tls-ca-cert-file": quoted(r.certs.ca),
			"tls-protocols": `"TLSv1.2 TLSv1.3"`,
		})
	}
	if n.sentinel {
		return lines(conf) + r.watch(n)
	}
	maps.Copy(conf, map[string]string{
		"appendonly": "yes", "appendfsync": "everysec", "save": `""`, "maxmemory-policy": "noeviction",
		"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1",
	})
	if r.password != "" {
		conf["requirepass"], conf["masterauth"] = r.password, r.password
	}
	switch r.mode {
	case Cluster:
		maps.Copy(conf, map[string]string{
			"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-node-timeout": "2000",
		})
		if r.certs != nil {
			conf["tls-cluster"] = "yes"
		}
	case Sentinel:
		host, port := hostPort(n.shown())
		maps.Copy(conf, map[string]string{"replica-announce-ip": host, "replica-announce-port": port})
		if first := r.nodes[0]; n != first {
			host, port = hostPort(first.shown())
			conf["replicaof"] = host + " " + port
		}
	case Alone:
	}
	maps.Copy(conf, over)
	return lines(conf)
}

// watch is what a sentinel is told of the master. Its lines have an order.
func (r *Redis) watch(n *node) string {
	host, port := hostPort(r.nodes[0].shown())
	all := []string{
		"sentinel announce-ip 127.0.0.1",
		"sentinel announce-port " + strconv.Itoa(n.port),
		fmt.Sprintf("sentinel monitor %s %s %s %d", masterName, host, port, quorum),
		"sentinel down-after-milliseconds " + masterName + " 1500",
		"sentinel failover-timeout " + masterName + " 5000",
		"sentinel parallel-syncs " + masterName + " 2",
	}
	if r.password != "" {
		all = append(all, fmt.Sprintf("sentinel auth-pass %s %s", masterName, r.password))
	}
	return strings.Join(all, "\n") + "\n"
}

func lines(conf map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(conf)) {
		fmt.Fprintf(&b, "%s %s\n", name, conf[name])
	}
	return b.String()
}

// quoted is a path as redis.conf has it, whatever characters are in it.
func quoted(path string) string { return strconv.Quote(path) }

// hostPort takes an address apart that StartRedis has made or was given by a proxy.
func hostPort(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, "0" // the server refuses it, and says so
	}
	return host, port
}
