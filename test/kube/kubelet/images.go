// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"strings"
	"sync"
)

// Image is the local program that stands for an image of containers. The zero
// Image has no program: its containers are ready at once and run nothing, which
// costs next to nothing. Pods of such containers alone have addresses that lead
// nowhere.
type Image struct {
	Path string   // of the program, absolute
	Args []string // come before those of the container
	Env  []string // NAME=value, come before those of the container
	// Sealed shuts the program up in a directory that has nothing but itself,
	// the volumes of its pod, and what a kubelet adds below /etc. It must be
	// linked statically. Programs that are not sealed run as root, see the
	// files of this machine, and find that directory in BED_ROOT.
	Sealed bool
	// User and group of a sealed program, unless the pod names others.
	User int
}

// Images says which programs stand for which images. The zero Images know
// none. It may be used concurrently.
type Images struct {
	mu    sync.Mutex // guards what follows
	known map[string]Image
}

// Set has image stand for all containers whose image is name: the reference as
// it stands in a pod, or that without tag and digest. A container that is
// running stays what it is.
func (s *Images) Set(name string, image Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[string]Image)
	}
	s.known[name] = image
}

// find returns what stands for the reference of a container.
func (s *Images) find(reference string) (Image, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if image, ok := s.known[reference]; ok {
		return image, true
	}
	image, ok := s.known[untagged(reference)]
	return image, ok
}

// hollow reports whether none of the containers has a program.
func (s *Images) hollow(containers []*container) bool {
	for _, c := range containers {
		if image, ok := s.find(c.spec.Image); !ok || image.Path != "" {
			return false
		}
	}
	return true
}

// untagged returns a reference without its tag and digest. A colon before the
// last slash belongs to the port of a registry.
func untagged(reference string) string {
	name, _, _ := strings.Cut(reference, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}
