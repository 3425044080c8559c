package export

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrExists says that there is a file of the name already.
var ErrExists = errors.New("it exists")

// File is a file that is not there under its name before it is whole. Until then it is beside it, as
// .NAME.RANDOM.part. One of Commit and Abort has to be called.
type File struct {
	path  string
	force bool
	part  *os.File
}

// Create begins a file. One that exists is left as it is, and the error is ErrExists, unless force is
// set; it is replaced only at the end. What is no regular file is never replaced.
func Create(path string, force bool) (*File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look for %s: %w", path, cause(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case !force:
		return nil, fmt.Errorf("%s: %w", path, ErrExists)
	default: // what a link names is replaced, not the link
		named, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", path, cause(err))
		}
		path = named
	}
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()[:8]+".part")
	part, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666) //nolint:gosec // the user's umask decides
	if err != nil {
		return nil, fmt.Errorf("make a file in %s: %w", filepath.Dir(path), cause(err))
	}
	return &File{path: path, force: force, part: part}, nil
}

// cause leaves out a path that the message has already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Write implements io.Writer.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.part.Write(p)
	if err != nil {
		return n, fmt.Errorf("%s: %w", f.path, cause(err))
	}
	return n, nil
}

// Abort takes away what was written. After Commit it does nothing.
func (f *File) Abort() {
	if f.part != nil {
		_ = f.part.Close()
		_ = os.Remove(f.part.Name()) // a file that stays says by its name that it is a part
		f.part = nil
	}
}

// Commit gives the file its name, when all of it is on the disk. After an error nothing is left of it.
func (f *File) Commit() error {
	defer f.Abort()
	if err := f.part.Sync(); err != nil {
		return fmt.Errorf("%s: %w", f.path, cause(err))
	}
	if err := f.part.Close(); err != nil {
		return fmt.Errorf("%s: %w", f.path, cause(err))
	}
	return f.name()
}

// name names the part. A link does not replace a file that somebody has made meanwhile; where the disk
// knows none, a look has to do.
func (f *File) name() error {
	part := f.part.Name()
	if !f.force {
		err := os.Link(part, f.path)
		if err == nil {
			return nil // Abort takes the other name away
		}
		if _, there := os.Lstat(f.path); errors.Is(err, fs.ErrExist) || there == nil {
			return fmt.Errorf("%s: %w", f.path, ErrExists)
		}
	}
	if err := os.Rename(part, f.path); err != nil {
		return fmt.Errorf("name the file %s: %w", f.path, errors.Unwrap(err))
	}
	f.part = nil
	return nil
}
