// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// The media types of the OCI image specification, version 1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// user is who runs the program: nobody's number, which is not root's.
const user = "65532:65532"

// entrypoint is where the program is, as the Dockerfile has it.
const entrypoint = "/program"

// authoritiesPath is where programs look for certificates that they trust.
const authoritiesPath = "etc/ssl/certs/ca-certificates.crt"

// image is one image, for one or more platforms.
type image struct {
	tag, source string
	authorities string // file, empty for none
	programs    []program
}

// program is a static program for a platform.
type program struct{ system, architecture, path string }

// descriptor names a blob (OCI image specification, descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	System       string `json:"os"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type config struct {
	platform
	Config struct {
		User       string            `json:"User"`
		Entrypoint []string          `json:"Entrypoint"`
		WorkingDir string            `json:"WorkingDir"`
		Labels     map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// write writes the layout to a folder that is not there yet.
func (i *image) write(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	l := layout(dir)
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	all := index{SchemaVersion: 2, MediaType: typeIndex}
	for _, p := range i.programs {
		d, err := i.platform(l, p)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", p.system, p.architecture, err)
		}
		all.Manifests = append(all.Manifests, d)
	}
	top, err := l.putJSON(typeIndex, all)
	if err != nil {
		return err
	}
	top.Annotations = map[string]string{"org.opencontainers.image.ref.name": i.tag}
	return errors.Join(
		l.writeJSON("index.json", index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{top}}),
		l.writeJSON("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}))
}

// platform adds the image of one platform.
func (i *image) platform(l layout, p program) (descriptor, error) {
	files := []file{}
	if i.authorities != "" {
		files = append(files, file{authoritiesPath, i.authorities, 0o644})
	}
	plain, packed, err := pack(append(files, file{entrypoint[1:], p.path, 0o755}))
	if err != nil {
		return descriptor{}, err
	}
	layer, err := l.put(typeLayer, packed)
	if err != nil {
		return descriptor{}, err
	}
	labels := map[string]string{
		"org.opencontainers.image.version":  i.tag,
		"org.opencontainers.image.source":   i.source,
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
	of := platform{Architecture: p.architecture, System: p.system}
	c := config{platform: of}
	c.Config.User, c.Config.Entrypoint, c.Config.WorkingDir, c.Config.Labels = user, []string{entrypoint}, "/", labels
	c.RootFS.Type, c.RootFS.DiffIDs = "layers", []string{digest(plain)}
	described, err := l.putJSON(typeConfig, c)
	if err != nil {
		return descriptor{}, err
	}
	d, err := l.putJSON(typeManifest, manifest{
		SchemaVersion: 2, MediaType: typeManifest, Config: described, Layers: []descriptor{layer}, Annotations: labels,
	})
	d.Platform = &of
	return d, err
}

// file is something that an image has.
type file struct {
	name, from string
	mode       int64
}

// pack returns an archive of files, as it is and compressed. Nothing in it
// tells of the machine or the time at which it was made.
func pack(files []file) (plain, packed []byte, err error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	made := map[string]bool{".": true}
	for _, f := range files {
		if err := folders(w, path.Dir(f.name), made); err != nil {
			return nil, nil, err
		}
		text, err := os.ReadFile(f.from)
		if err != nil {
			return nil, nil, err
		}
		head := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(text)), Mode: f.mode, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(head); err != nil {
			return nil, nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	var compressed bytes.Buffer
	z, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		return nil, nil, err
	}
	if _, err = io.Copy(z, bytes.NewReader(archive.Bytes())); err == nil {
		err = z.Close()
	}
	return archive.Bytes(), compressed.Bytes(), err
}

// folders adds the folders of a path that are not there yet.
func folders(w *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := folders(w, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, Format: tar.FormatUSTAR})
}

// layout is the folder of an OCI image layout.
type layout string

// put adds a blob.
func (l layout) put(mediaType string, blob []byte) (descriptor, error) {
	d := descriptor{MediaType: mediaType, Digest: digest(blob), Size: int64(len(blob))}
	return d, os.WriteFile(l.blob(d.Digest), blob, 0o644) //nolint:gosec // images are for everybody
}

// putJSON adds a blob that is JSON.
func (l layout) putJSON(mediaType string, value any) (descriptor, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return descriptor{}, err
	}
	return l.put(mediaType, text)
}

// writeJSON writes a file beside the blobs.
func (l layout) writeJSON(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(l), name), text, 0o644) //nolint:gosec // as above
}

// blob returns where a blob is.
func (l layout) blob(digest string) string {
	return filepath.Join(string(l), "blobs", "sha256", digest[len("sha256:"):])
}

// digest returns by what a blob is known.
func digest(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "sha256:" + hex.EncodeToString(sum[:])
}
