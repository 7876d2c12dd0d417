// SPDX-License-Identifier: Apache-2.0

package marathon

import "flag"

var update = flag.Bool("update", false, "rewrite the expected parts of text cases")
