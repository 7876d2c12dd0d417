// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// nginx is the kind that may need a module.
const nginx = "nginx"

// modulesPath is where nginx tells that its modules are.
var modulesPath = regexp.MustCompile(`--modules-path=(\S+)`)

// errNoStream reports an nginx that only speaks HTTP.
var errNoStream = errors.New("nginx has no module for connections: install it, such as with apt-get install libnginx-mod-stream")

// streamModule returns the file of the module that nginx needs to forward
// connections; empty where none is needed, as it is built in, or nobody asks
// for it.
func (k Kind) streamModule(ctx context.Context, path, mode string) (string, error) {
	if k.Name != nginx || mode != ModeTCP {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-V").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s -V: %w: %s", path, err, end(out))
	}
	return streamModuleOf(string(out))
}

// streamModuleOf finds the module by how nginx says that it was configured.
func streamModuleOf(configured string) (string, error) {
	if slices.Contains(strings.Fields(configured), "--with-stream") {
		return "", nil
	}
	m := modulesPath.FindStringSubmatch(configured)
	if m == nil {
		return "", errNoStream
	}
	file := filepath.Join(m[1], "ngx_stream_module.so")
	if _, err := os.Stat(file); err != nil {
		return "", errNoStream
	}
	return file, nil
}
