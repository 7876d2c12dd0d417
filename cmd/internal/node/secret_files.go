// SPDX-License-Identifier: Apache-2.0

package node

import (
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/routing"
)

// secretPatience is how long a table waits for the files of the Secrets that it
// names to be written, and the end of the process for what is being written.
const secretPatience = 5 * time.Second

// secretFiles keeps Secrets as files beside the way of tables: a disk that hangs
// holds up those tables alone that name what it does not take, and each time it
// hangs one of them only. The methods may be called from any goroutine.
type secretFiles struct {
	files    *tlsconf.Secrets
	log      *slog.Logger
	patience time.Duration

	mu    sync.Mutex                 // guards the fields below
	want  map[string]*routing.Secret // the newest list, by Ref
	tried map[string]*routing.Secret // what was tried to be written of it and those before, by Ref
	list  []*routing.Secret          // to be written next, if put says so
	put   bool
	named map[string]bool // by the newest table; nil if it was tidied after
	busy  chan struct{}   // closed when nothing is written any more; nil while nothing is
	late  bool            // somebody has waited in vain for what is being written
}

func newSecretFiles(dir string, log *slog.Logger) *secretFiles {
	return &secretFiles{files: tlsconf.NewSecrets(dir), log: log, patience: secretPatience}
}

// take has files made of all Secrets of a list. It does not wait for them.
func (s *secretFiles) take(all []*routing.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = make(map[string]*routing.Secret, len(all))
	for _, one := range all {
		s.want[one.Ref()] = one
	}
	s.list, s.put = all, true
	s.begin()
}

// tidy has the files of Secrets removed that a table does not name, nor the last
// list. It does not wait for it.
func (s *secretFiles) tidy(named map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named = named
	s.begin()
}

// begin has somebody work. s is locked.
func (s *secretFiles) begin() {
	if s.busy != nil {
		return
	}
	s.busy = make(chan struct{})
	go s.work(s.busy)
}

// work does what there is to do, the newest of it, and closes done after.
func (s *secretFiles) work(done chan struct{}) {
	defer close(done)
	for {
		s.mu.Lock()
		list, put, named := s.list, s.put, s.named
		s.list, s.put, s.named = nil, false, nil
		if !put && named == nil {
			s.busy, s.late = nil, false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if put {
			s.write(list)
		}
		if named == nil {
			continue
		}
		if err := s.files.Tidy(func(ref string) bool { return named[ref] }); err != nil {
			s.log.Error("files of Secrets that nobody needs cannot be removed", "error", err)
		}
	}
}

// write writes a list.
func (s *secretFiles) write(list []*routing.Secret) {
	if err := s.files.Put(list); err != nil {
		s.log.Error("Secrets cannot be kept as files; what was there serves on", "error", err)
	}
	tried := make(map[string]*routing.Secret, len(list))
	for _, one := range list {
		tried[one.Ref()] = one
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = tried
}

// await waits until the newest Secrets that a table names were written, or could
// not be, for as long as patience says. If they are late, the table is served
// without them, and they are taken over when they are there.
func (s *secretFiles) await(named map[string]bool) {
	limit := time.NewTimer(s.patience)
	defer limit.Stop()
	for {
		s.mu.Lock()
		busy, lacks := s.busy, s.lacks(named)
		wait := busy != nil && lacks != "" && !s.late
		s.mu.Unlock()
		if !wait {
			return
		}
		select {
		case <-busy:
		case <-limit.C:
			s.mu.Lock()
			s.late = s.busy == busy
			s.mu.Unlock()
			s.log.Error("the disk does not take Secrets in time; tables are served without those that have come", "secret", lacks)
			return
		}
	}
}

// lacks returns a Secret that is named and whose newest form was not tried to be
// written yet; empty if there is none. s is locked.
func (s *secretFiles) lacks(named map[string]bool) string {
	for ref := range named {
		if one := s.want[ref]; one != nil && !routing.SameSecret(s.tried[ref], one) {
			return ref
		}
	}
	return ""
}

// rest waits until nothing is written any more, for as long as patience says, and
// reports whether that is so.
func (s *secretFiles) rest() bool {
	s.mu.Lock()
	busy := s.busy
	s.mu.Unlock()
	if busy == nil {
		return true
	}
	limit := time.NewTimer(s.patience)
	defer limit.Stop()
	select {
	case <-busy:
		return true
	case <-limit.C:
		return false
	}
}
