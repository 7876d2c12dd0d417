// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/store"
)

func newBackup() *cobra.Command {
	var c connection
	var out, dataDir string
	cmd := &cobra.Command{
		Use:   "backup --out FILE",
		Short: "Copy all that the control plane stores to a file",
		Long: `Backup writes a copy of the whole store of a control plane: all artifacts of all
namespaces with their former versions, values and events. The control plane
serves on meanwhile. With --data-dir it reads the folder of one that does not
run. Certificates and tokens are not in it; they are files of their own.

The copy has the mode 0600 and replaces nothing. 'sluice restore' reads it.`,
		Example: `  sluice backup --out sluice-$(date +%F).backup
  sluice backup --out sluice.backup --data-dir /var/lib/sluice`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("--out: which file is the copy to be written to?")
			}
			copyTo := func(w io.Writer) error { return backupStore(cmd.Context(), dataDir, w) }
			if dataDir == "" {
				cl, err := c.open()
				if err != nil {
					return err
				}
				defer cl.Close()
				copyTo = func(w io.Writer) error {
					_, err := cl.Backup(cmd.Context(), w)
					return advised(err)
				}
			}
			n, err := writeNew(out, copyTo)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %d bytes\n", out, n)
			return nil
		},
	}
	connectionFlags(cmd, &c)
	flags := cmd.Flags()
	flags.StringVar(&out, "out", "", "file to write the copy to")
	flags.StringVar(&dataDir, "data-dir", "", "folder of a control plane that does not run (default asks one that does)")
	return cmd
}

// storeFile is the file of a store in its folder.
const storeFile = "store.db"

// backupStore copies the store in a folder.
func backupStore(ctx context.Context, dir string, w io.Writer) error {
	if _, err := os.Stat(filepath.Join(dir, storeFile)); err != nil {
		return fmt.Errorf("--data-dir: there is no store: %w", err)
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return lockAdvice(err, "leave --data-dir out to have the control plane make the copy")
	}
	return errors.Join(s.Backup(ctx, w), s.Close())
}

// lockAdvice says what to do if a store is in use.
func lockAdvice(err error, advice string) error {
	if _, locked := errors.AsType[*store.LockedError](err); locked {
		return fmt.Errorf("%w; %s", err, advice)
	}
	return err
}

// writeNew writes a file that appears whole or not at all, and replaces
// nothing. It returns its length.
func writeNew(path string, write func(io.Writer) error) (int64, error) {
	if _, err := os.Lstat(path); err == nil {
		return 0, fmt.Errorf("--out: %s is there already, and is not replaced", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-*") // mode 0600
	if err != nil {
		return 0, fmt.Errorf("--out: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // the name that is left if anything fails
	b := bufio.NewWriterSize(f, 1<<20)
	err = write(b)
	if err == nil {
		err = errors.Join(b.Flush(), f.Sync())
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err != nil {
		return 0, err
	}
	// Link, unlike Rename, replaces nothing that came meanwhile.
	if err := os.Link(f.Name(), path); err != nil {
		return 0, fmt.Errorf("--out: %w", err)
	}
	return info.Size(), nil
}

func newRestore() *cobra.Command {
	var dataDir, from string
	var yes bool
	cmd := &cobra.Command{
		Use:   "restore --data-dir DIR --from FILE",
		Short: "Put a backup in the place of a control plane's store",
		Long: `Restore reads a backup, checks all of it, and puts it in the place of the store
in a folder, or makes the store from it. The control plane must not run
meanwhile.

What was written after the backup is lost, and numbers of changes are given
anew: so the store begins a new epoch. Proxies see that. They take over what is
in the backup at once; gateways that they serve and the backup lacks they hold
back for 60 s, or for ever while no control plane answers, before they let go of
them. 'sluice apply' brings back what is missing.

It asks before it replaces a store, unless --yes is given.`,
		Example: `  sluice restore --data-dir /var/lib/sluice --from sluice-2026-11-21.backup
  sluice restore --data-dir /var/lib/sluice --from sluice.backup --yes`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dataDir == "" || from == "" {
				return usagef("--data-dir and --from: which store is to be made from which file?")
			}
			f, err := os.Open(from)
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			defer func() { _ = f.Close() }()
			_, err = os.Stat(filepath.Join(dataDir, storeFile))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("--data-dir: %w", err)
			}
			if err == nil {
				if err := confirmed(cmd, yes, "replace the store in "+dataDir); err != nil {
					return err
				}
			}
			if err := store.Restore(dataDir, f); err != nil {
				return restoreAdvice(err)
			}
			return tellRestored(cmd, dataDir)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dataDir, "data-dir", "", "folder of the control plane's store")
	flags.StringVar(&from, "from", "", "file that sluice backup wrote")
	yesFlag(cmd, &yes)
	return cmd
}

func restoreAdvice(err error) error {
	if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrSchema) {
		return fmt.Errorf("--from: %w; the store is as it was", err)
	}
	return lockAdvice(err, "end the control plane first")
}

// tellRestored says what the store has now, and what happens next.
func tellRestored(cmd *cobra.Command, dir string) error {
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	list, err := s.List(cmd.Context(), "", "")
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s  version %s, %s\n", dir, list.Version, count(len(list.Artifacts), "artifact"))
	fmt.Fprintln(cmd.ErrOrStderr(), `Start 'sluice control' on it. Proxies take over what the backup has; what it lacks
they serve for 60 s more, unless it comes back by 'sluice apply'.`)
	return nil
}
