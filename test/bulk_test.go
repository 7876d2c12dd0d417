// SPDX-License-Identifier: Apache-2.0

package test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// block is what bulk content repeats. Its length is prime, so that no buffer
// begins with it twice: bytes that are lost or in a wrong place show.
var block = func() []byte {
	b := make([]byte, 1_000_003)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}()

// bulk is content of a length: the block, again and again.
type bulk struct {
	left int64
	at   int
}

func (b *bulk) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), b.left)], block[b.at:])
	b.at = (b.at + n) % len(block)
	b.left -= int64(n)
	return n, nil
}

// digest returns the SHA-256 of what r holds.
func digest(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, onlyReader{r}, make([]byte, 256<<10)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// onlyReader hides that a body knows how to copy itself.
type onlyReader struct{ io.Reader }

// serveBulk answers a POST with the digest of its content, and a GET with
// content of a length, in chunks if that is asked for.
func serveBulk(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		sum, err := digest(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, sum)
		return
	}
	n, err := strconv.ParseInt(r.FormValue("length"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.FormValue("chunked") == "" {
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	}
	_, _ = io.CopyBuffer(w, onlyReader{&bulk{left: n}}, make([]byte, 256<<10))
}

// cmdBulk moves MIB of content up and down, by its length and in chunks,
// compares digests, and fails if sluice ever held MORE MiB more than at the
// beginning: bulk MIB MORE URL.
func cmdBulk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: bulk MIB MORE URL")
	}
	b := bedOf(ts)
	size, err := strconv.ParseInt(args[0], 10, 32)
	ts.Check(err)
	more, err := strconv.ParseInt(args[1], 10, 32)
	ts.Check(err)
	size <<= 20
	want, err := digest(&bulk{left: size})
	ts.Check(err)
	before, err := b.sluice.peak()
	ts.Check(err)
	for _, chunked := range []bool{false, true} {
		for _, move := range []func(string, int64, bool) (string, error){b.bulkUp, b.bulkDown} {
			got, err := move(args[2], size, chunked)
			ts.Check(err)
			if got != want {
				ts.Fatalf("chunked %v: the digest is %s, want %s", chunked, got, want)
			}
		}
	}
	after, err := b.sluice.peak()
	ts.Check(err)
	ts.Logf("sluice held %d MiB before and at most %d MiB", before>>20, after>>20)
	if after > before+more<<20 {
		ts.Fatalf("sluice held %d MiB, %d before: more than %d MiB in addition", after>>20, before>>20, more)
	}
}

// bulkUp sends content and returns the digest of what came.
func (b *bed) bulkUp(url string, size int64, chunked bool) (string, error) {
	r, err := http.NewRequestWithContext(b.ctx, http.MethodPost, url, onlyReader{&bulk{left: size}})
	if err != nil {
		return "", err
	}
	if !chunked {
		r.ContentLength = size
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("status %d", answer.StatusCode))
	}
	return string(text), err
}

// bulkDown fetches content and returns its digest.
func (b *bed) bulkDown(url string, size int64, chunked bool) (string, error) {
	url += "?length=" + strconv.FormatInt(size, 10)
	if chunked {
		url += "&chunked=1"
	}
	r, err := http.NewRequestWithContext(b.ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if is := answer.ContentLength < 0; is != chunked {
		return "", fmt.Errorf("the answer is chunked: %v, want %v", is, chunked)
	}
	return digest(answer.Body)
}

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peak returns the most memory that the process has ever held, in bytes; 0
// where the system does not tell.
func (p *process) peak() (int64, error) {
	if runtime.GOOS != "linux" {
		return 0, nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	m := peakLine.FindStringSubmatch(string(text))
	if m == nil {
		return 0, errors.New("no VmHWM in " + strings.TrimSpace(string(text)))
	}
	kilobytes, err := strconv.ParseInt(m[1], 10, 64)
	return kilobytes << 10, err
}
