package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Installation is where the programs are.
type Installation struct {
	Java         string // the program
	KafkaLibs    string // folder of Kafka's jars
	KafkaVersion string // such as "4.1.0"
	RedisServer  string // the program; it is Sentinel too
	RedisLibs    string // what it needs in LD_LIBRARY_PATH; "" where the system has all of it
}

// Install returns the installation in the cache. Where there is none, or not all of it, it runs the
// script install beside this file, which takes minutes the first time and needs the package registries;
// its messages are part of the error. The cache is $REALSERVERS_CACHE, or replyworker-servers in
// $XDG_CACHE_HOME or $HOME/.cache.
func Install(ctx context.Context) (Installation, error) {
	cache, err := cacheDir(os.Getenv)
	if err != nil {
		return Installation{}, err
	}
	if in, err := readInstallation(cache); err == nil {
		return in, nil
	}
	script, err := scriptPath()
	if err != nil {
		return Installation{}, err
	}
	cmd := exec.CommandContext(ctx, "bash", script) //nolint:gosec // our own script
	var said bytes.Buffer
	cmd.Stderr = &said
	endTogether(cmd)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // rather than that the script was killed
		}
		return Installation{}, fmt.Errorf("install the servers: %w\n%s", err, bytes.TrimSpace(said.Bytes()))
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return readInstallation(lines[len(lines)-1])
}

func cacheDir(getenv func(string) string) (string, error) {
	if dir := getenv("REALSERVERS_CACHE"); dir != "" {
		return filepath.Abs(dir) //nolint:wrapcheck // it fails without a working directory only
	}
	if dir := getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "replyworker-servers"), nil
	}
	if dir := getenv("HOME"); dir != "" {
		return filepath.Join(dir, ".cache", "replyworker-servers"), nil
	}
	return "", errors.New("no folder for the servers: set REALSERVERS_CACHE")
}

// readInstallation reads what the script wrote about its work, and sees whether it is still there.
func readInstallation(cache string) (Installation, error) {
	lines, err := ReadSettings(filepath.Join(cache, "installation"))
	if err != nil {
		return Installation{}, err
	}
	in := parseInstallation(lines)
	for _, path := range []string{in.Java, in.KafkaLibs, in.RedisServer} {
		if _, err := os.Stat(path); err != nil {
			return Installation{}, fmt.Errorf("installation: %w", err)
		}
	}
	return in, nil
}

func parseInstallation(lines []string) Installation {
	var in Installation
	fields := map[string]*string{
		"JAVA": &in.Java, "KAFKA_LIBS": &in.KafkaLibs, "KAFKA_VERSION": &in.KafkaVersion,
		"REDIS_SERVER": &in.RedisServer, "REDIS_LIBS": &in.RedisLibs,
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		if field := fields[name]; field != nil {
			*field = value
		}
	}
	return in
}

// scriptPath finds the script: beside this file, or, where the file's path is trimmed, below the
// folder that has go.mod, upwards of the working directory.
func scriptPath() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		script := filepath.Join(filepath.Dir(file), "install")
		if _, err := os.Stat(script); err == nil {
			return script, nil
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "test", "servers", "install"), nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", errors.New("test/servers/install is not found: run this in the module's folder")
	}
}
