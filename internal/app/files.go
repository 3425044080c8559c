package app

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// maxWatched is more than any file that is watched needs.
	maxWatched = 1 << 20
	// A file system may give two writes one time. A file that was read sooner than this after its time is
	// read again whatever its time is.
	coarseTime = 3 * time.Second
	// Every so many looks all files are read, whatever their times: a copy may keep them.
	readAllEvery = 20
)

// files tells whether the content of files has changed. Paths are followed where they lead now, as
// Kubernetes changes what it mounts by moving a symbolic link.
type files struct {
	seen  map[string]seenFile
	looks int
}

// seenFile is a file as it was read last.
type seenFile struct {
	info os.FileInfo
	read time.Time
	sum  [sha256.Size]byte
}

// print returns a fingerprint of the files' content. One that cannot be read has one, too.
func (f *files) print(paths []string) [sha256.Size]byte {
	if f.looks++; f.looks%readAllEvery == 0 || f.seen == nil {
		f.seen = map[string]seenFile{}
	}
	h := sha256.New()
	for _, path := range paths {
		fmt.Fprintf(h, "%q %x\n", path, f.sum(path))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (f *files) sum(path string) [sha256.Size]byte {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // opening a pipe might wait for ever
		return sha256.Sum256(fmt.Append(nil, "not there: ", err))
	}
	last, known := f.seen[path]
	if known && os.SameFile(last.info, info) && last.info.Size() == info.Size() && last.info.ModTime().Equal(info.ModTime()) &&
		last.read.Sub(info.ModTime()) > coarseTime {
		return last.sum
	}
	s := seenFile{info: info, read: time.Now()}
	s.sum = sumOf(path)
	f.seen[path] = s
	return s.sum
}

func sumOf(path string) [sha256.Size]byte {
	file, err := os.Open(path)
	if err != nil {
		return sha256.Sum256(fmt.Append(nil, "not open: ", err))
	}
	defer file.Close() //nolint:errcheck // only read
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(file, maxWatched+1)); err != nil {
		_, _ = fmt.Fprint(h, err) // a hash takes all
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// irregular returns the first of the files that can be read only once, such as a shell's <(command).
func irregular(paths []string) string {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			return path
		}
	}
	return ""
}
