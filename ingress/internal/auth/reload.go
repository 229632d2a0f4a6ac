package auth

import (
	"fmt"
	"os"
	"time"
)

// fileVersion tells one state of a file from another without reading it.
type fileVersion struct{ info os.FileInfo }

func (v fileVersion) same(w fileVersion) bool {
	return v.info != nil && w.info != nil && os.SameFile(v.info, w.info) &&
		v.info.ModTime().Equal(w.info.ModTime()) && v.info.Size() == w.info.Size()
}

// maxKeysFile bounds what is read of a key file, in bytes.
const maxKeysFile = 1 << 20

// refresh looks at the file if that was not done within the poll interval. One caller does it; the
// others go on with the keys they have.
func (g *Gate) refresh(now time.Time) {
	last := g.lastLook.Load()
	if now.UnixNano()-last < int64(g.cfg.Poll) || !g.lastLook.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	if err := g.load(); err != nil {
		g.cfg.Logger.Error("keys not reloaded, the old ones stay", "file", g.cfg.KeysFile, "error", err)
	}
}

// load brings the file into force if it changed. Its error is new: one that was reported
// before is not reported again while the file stays as it is.
func (g *Gate) load() error {
	g.reload.Lock()
	defer g.reload.Unlock()
	version, err := stat(g.cfg.KeysFile)
	if err != nil {
		return g.breakWith(fileVersion{}, err)
	}
	if version.same(g.version) {
		return nil
	}
	keys, err := readKeys(g.cfg.KeysFile)
	if err != nil {
		return g.breakWith(version, err)
	}
	first := g.ring.Load() == nil
	g.ring.Store(&ring{keys: keys, cache: newCache(g.cfg.CacheSize)})
	g.version, g.broken = version, nil
	g.metrics.broken.Set(0)
	if !first {
		g.cfg.Logger.Info("keys reloaded", "file", g.cfg.KeysFile, "keys", len(keys))
	}
	return nil
}

// breakWith remembers why the newest file is not in force.
func (g *Gate) breakWith(version fileVersion, err error) error {
	known := g.broken != nil && g.broken.Error() == err.Error()
	g.version, g.broken = version, err
	g.metrics.broken.Set(1)
	if known {
		return nil
	}
	return err
}

// Ready reports whether the newest key file is in force; detail is for a person. An error does not
// mean that tokens are refused: the keys before it still count.
func (g *Gate) Ready() (detail string, err error) {
	g.refresh(g.cfg.Now())
	g.reload.Lock()
	defer g.reload.Unlock()
	return fmt.Sprintf("%d keys", len(g.ring.Load().keys)), g.broken
}

func stat(path string) (fileVersion, error) {
	info, err := os.Stat(path)
	return fileVersion{info}, err
}

func readKeys(path string) (map[string]key, error) {
	data, err := readLimited(path, maxKeysFile)
	if err != nil {
		return nil, err
	}
	return parseKeys(data)
}
