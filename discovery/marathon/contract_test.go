// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/discoverytest"
	"github.com/sluice-mesh/sluice/discovery/marathon"
	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/routing"
)

// labelled is an app with one task whose image says what the contract asks
// for.
func labelled(called, says string) string {
	return fmt.Sprintf(`{"id":"/shop/%s","instances":1,"container":{"type":"DOCKER","docker":{"image":%q}},"portDefinitions":[{"port":0}]}`, called, says)
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.4", "1.7", "1.11"} {
		t.Run("Marathon "+version, func(t *testing.T) {
			t.Parallel()
			discoverytest.Test(t, func(t *testing.T) discoverytest.Bed {
				t.Helper()
				c := marathontest.Start(t, marathontest.Options{Version: version})
				c.Deploy(labelled("a", "a1"))
				c.Deploy(labelled("b", "b1"))
				s, err := marathon.New(marathon.Options{URLs: c.URLs(), Quiet: time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				return discoverytest.Bed{
					Source: s,
					Put:    func(called, says string) { c.Deploy(labelled(called, says)) },
					Remove: func(called string) { c.Remove("/shop/" + called) },
					Key:    func(called string) string { return "apps/shop/" + called },
					Says:   func(i *routing.Instance) string { return i.Image },
				}
			})
		})
	}
}
