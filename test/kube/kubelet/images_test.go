// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import "testing"

func TestImagesFind(t *testing.T) {
	var images Images
	images.Set("shop", Image{Path: "/any"})
	images.Set("shop:2.0.0", Image{Path: "/second"})
	images.Set("example.com:5000/shop", Image{Path: "/ported"})
	for _, tt := range []struct{ name, reference, want string }{
		{"an image is known without its tag", "shop:1.0.0", "/any"},
		{"an image is known without its digest", "shop@sha256:00", "/any"},
		{"a reference that is known whole comes first", "shop:2.0.0", "/second"},
		{"the port of a registry is no tag", "example.com:5000/shop", "/ported"},
		{"a tag follows the port of a registry", "example.com:5000/shop:1.0.0", "/ported"},
		{"another registry is another image", "example.com/shop", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if image, ok := images.find(tt.reference); image.Path != tt.want || ok != (tt.want != "") {
				t.Errorf("find(%q) = %q, %t, want %q", tt.reference, image.Path, ok, tt.want)
			}
		})
	}
}
