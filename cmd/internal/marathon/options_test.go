// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

// People write a space behind the comma, which is part of no name.
func TestSpacesInListsDoNotCount(t *testing.T) {
	var o Options
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.Flags(flags)
	err := flags.Parse([]string{
		"--marathon", "http://10.0.0.2:8080, http://10.0.0.3:8080", "--marathon-lb-groups", "external, internal",
		"--marathon-lb-certificates", "/etc/a.pem, /etc/b.pem",
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ got, want []string }{
		{c.options.URLs, []string{"http://10.0.0.2:8080", "http://10.0.0.3:8080"}},
		{c.options.Groups, []string{"external", "internal"}},
		{c.options.LBCertificates, []string{"/etc/a.pem", "/etc/b.pem"}},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestAnEmptyGroupIsRefused(t *testing.T) {
	o := Options{URLs: []string{"http://m"}, Groups: []string{"external", " "}, KeepLost: "last", Resync: 1}
	if _, err := o.Open(); err == nil {
		t.Error("an empty group is taken")
	}
}
