// SPDX-License-Identifier: Apache-2.0

//go:build !linux || race

package socket

import "time"

// Loop reads from the connection and tells h, until h is done (nil), the peer
// ends (io.EOF), or the connection fails or expires. Inside it Read must not
// be called.
func (c *Conn) Loop(h Handler) error {
	if c.by != nil {
		return c.carriedLoop(h)
	}
	for {
		n, err := c.receive(h.Buffer())
		if n == 0 && err != nil {
			if !c.onlyWoken(err) {
				return c.translate(err)
			}
			if h.Woken() == Done {
				return nil
			}
			continue
		}
		if h.Data(n) == Done {
			return nil
		}
		h.Idle()
	}
}

// RoundTrip sends out in one write and reads until h is done.
func (c *Conn) RoundTrip(out []byte, h Handler) error {
	if c.by != nil {
		return c.carriedTrip(out, h)
	}
	if out != nil {
		if n, err := c.Write(out); err != nil {
			return &WriteError{Err: err, Unsent: n == 0}
		}
	}
	for {
		n, err := c.Read(h.Buffer())
		if n == 0 && err != nil {
			return err
		}
		if h.Data(n) == Done {
			return nil
		}
	}
}

func (c *Conn) write([]byte) (int, error) { return 0, nil }

func (c *Conn) encrypt(b []byte, wait time.Duration) (int, error) { return c.layer.write(b, wait) }

// take makes the calls of the connection those of TLS: here they ask for
// themselves.
func (*layer) take() {}

func (w *wire) readInside([]byte) (int, error) { return 0, errAgain }
