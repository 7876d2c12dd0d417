// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

const (
	// Generations is how many tables are kept.
	Generations = 3
	// CrashLimit is how many crashes within CrashWindow put a version into
	// quarantine.
	CrashLimit = 2
	// CrashWindow is the time between the first and the last start of a
	// version that crashes, and how long a version serves before Served is
	// said of it.
	CrashWindow = time.Minute
	// DefaultMaxBytes bounds payloads unless Options say otherwise.
	DefaultMaxBytes = 256 << 20
)

// The files of a folder, besides those with tables.
const (
	lockFile     = "lock"
	journalFile  = "starts"
	journalDraft = "starts.new"
	tableDraft   = "table.new"
	tablePrefix  = "table-" // and 16 hexadecimal digits
)

// Options shape a Keeper. The zero Options are ready to use.
type Options struct {
	// Schema is the number of the form that payloads are written in.
	Schema uint32
	// OldestSchema is the oldest form that the caller reads. All from it to
	// Schema are loaded; those of others are kept for whoever reads them.
	OldestSchema uint32
	// MaxBytes bounds a payload. Zero means DefaultMaxBytes.
	MaxBytes int
	// Now tells the time of starts. Nil means time.Now.
	Now func() time.Time
	// Wrote is told of each attempt to write a table, by Run, before the next
	// one begins. It may call Status. Nil means nobody is.
	Wrote func(Write)
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Keeper keeps the last good tables of one proxy in a folder. Its methods
// are safe for concurrent use.
type Keeper struct {
	dir    string
	o      Options
	folder folder
	lock   *os.File // nil in a folder without anything to lock
	work   chan struct{}

	// journaling guards journal and lines, and is taken before mu: a disk that
	// hangs keeps starts waiting, and nobody else.
	journaling sync.Mutex
	journal    file // nil until something is to be written
	lines      int  // written to journal, or maxLines if its end may be torn

	mu sync.Mutex // guards all below
	// held are the files with tables, oldest first, damaged ones included.
	held    []generation
	next    uint64 // number of the next file
	pending *Table // to be written
	writing *Table // being written; pending, unless a newer one came
	changed chan struct{}
	starts  *starts
	closed  bool
	status  Status // as far as it is not derived from the above
}

// generation is a file with a table.
type generation struct {
	number  uint64
	version routing.Version // if err is nil or ErrSchema
	saved   time.Time
	err     error // why it cannot be loaded, apart from quarantine
}

func (g generation) whole() bool { return g.err == nil || errors.Is(g.err, ErrSchema) }

func (g generation) file() string { return fmt.Sprintf("%s%016x", tablePrefix, g.number) }

// Open opens the folder, makes it if there is none (mode 0700), and locks it
// until Close: a *LockedError says that another Keeper has it. A folder that
// cannot be written can be loaded from; what cannot be written is told then.
//
// Whatever was starting in the former process and was neither served nor
// closed counts as crashed from here on.
func Open(dir string, o Options) (*Keeper, error) {
	return open(dir, o, onDisk(dir))
}

func open(dir string, o Options, in folder) (*Keeper, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		dir: dir, o: o.withDefaults(), folder: in, lock: lock,
		work: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	if err := k.find(); err != nil {
		return nil, errors.Join(err, k.unlock())
	}
	k.begin()
	return k, nil
}

// find looks at the files with tables.
func (k *Keeper) find() error {
	entries, err := os.ReadDir(k.dir) // sorted by name, and so by number
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, ok := tableNumber(e.Name())
		if !ok {
			continue
		}
		g := generation{number: number}
		f, err := k.read(g)
		g.version, g.saved, g.err = f.table.Version, f.table.Saved, err
		k.held = append(k.held, g)
		k.next = number
	}
	k.next++
	return nil
}

// tableNumber returns the number of a file with a table.
func tableNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, tablePrefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	// Numbers above half of all come from no Keeper and would leave no room
	// for the next ones.
	return n, err == nil && n < math.MaxInt64 && digits == strings.ToLower(digits)
}

// read returns the file of g.
func (k *Keeper) read(g generation) (frame, error) {
	f, err := read(filepath.Join(k.dir, g.file()), g.number, k.o.MaxBytes)
	if err == nil && (f.schema < k.o.OldestSchema || f.schema > k.o.Schema) {
		err = fmt.Errorf("%w %d, %d to %d are known", ErrSchema, f.schema, k.o.OldestSchema, k.o.Schema)
	}
	return f, err
}

// newest returns the newest whole file, or nil. k.mu is held.
func (k *Keeper) newest() *generation {
	for i, g := range slices.Backward(k.held) {
		if g.whole() {
			return &k.held[i]
		}
	}
	return nil
}

// Skip is a file that Load passed over, and why.
type Skip struct {
	File    string          // its name in the folder
	Version routing.Version // zero if the file does not tell
	Err     error           // ErrDamaged, ErrSchema, ErrTooLarge, ErrQuarantined, or of the file system
}

// Loaded is what Load found.
type Loaded struct {
	Table   Table  // the payload is the caller's
	Skipped []Skip // what was passed over, newest first
	// LastResort says that the table is in quarantine, and that there is no
	// other. Ask the control plane for a newer one before it is tried again.
	LastResort bool
}

// Load returns the newest table that is whole, of a schema that we know and
// not in quarantine, or else the newest in quarantine: processes are also
// killed by others, and a proxy without any table serves nobody. If there is
// none at all it returns ErrNone, with all that was passed over.
func (k *Keeper) Load() (Loaded, error) {
	k.mu.Lock()
	held, barred, closed := slices.Clone(k.held), maps.Clone(k.starts.barred), k.closed
	k.mu.Unlock()
	if closed {
		return Loaded{}, ErrClosed
	}
	var l Loaded
	for _, g := range slices.Backward(held) {
		f, err := k.read(g)
		if _, ok := barred[f.table.Version]; err == nil && ok {
			err = ErrQuarantined
			if !l.LastResort {
				l.LastResort, l.Table = true, f.table
			}
		}
		if err == nil {
			return Loaded{Table: f.table, Skipped: l.Skipped}, nil
		}
		l.Skipped = append(l.Skipped, Skip{g.file(), f.table.Version, err})
	}
	if !l.LastResort {
		return l, ErrNone
	}
	return l, nil
}

// Status is how a Keeper fares.
type Status struct {
	Version     routing.Version   // of the newest whole table on disk; zero means none
	Saved       time.Time         // when it was received
	Generations int               // files with tables, damaged ones included
	Damaged     int               // of them, those that cannot be read
	Quarantined []routing.Version // by epoch and revision
	Pending     bool              // whether a newer table waits to be written
	Writes      uint64            // tables written
	Failures    uint64            // attempts that failed
	Superseded  uint64            // tables that a newer one overtook before they were written
	Err         error             // of the last attempt, nil if it went well; before the first, of reading the journal
}

// Status returns how the Keeper fares.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	if g := k.newest(); g != nil {
		s.Version, s.Saved = g.version, g.saved
	}
	s.Generations = len(k.held)
	for _, g := range k.held {
		if !g.whole() {
			s.Damaged++
		}
	}
	s.Quarantined = versions(k.starts.barred)
	s.Pending = k.pending != nil
	return s
}

// Close says in the journal that the process ends in order and unlocks the
// folder. What Run did not write is not written. To crash is not to call
// Close; it does nothing when called again.
func (k *Keeper) Close() error {
	k.journaling.Lock()
	defer k.journaling.Unlock()
	k.mu.Lock()
	closed, trying := k.closed, k.starts.trying != nil
	k.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if trying {
		err = k.note(record{stopped, routing.Version{}, k.o.Now()})
	}
	err = errors.Join(err, k.closeJournal())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.tell()
	return errors.Join(err, k.unlock())
}

func (k *Keeper) unlock() error {
	if k.lock == nil {
		return nil
	}
	return k.lock.Close()
}

// tell wakes whoever waits for a change. k.mu is held.
func (k *Keeper) tell() {
	close(k.changed)
	k.changed = make(chan struct{})
}
