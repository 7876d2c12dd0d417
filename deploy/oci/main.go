// SPDX-License-Identifier: Apache-2.0

// Command oci puts a static program into an image, as deploy/docker/Dockerfile
// does, without Docker. It writes an OCI image layout, a folder that registries'
// clients copy from:
//
//	oci -out bin/images/sluice -tag v1.2.3 linux/amd64=bin/amd64/sluice linux/arm64=bin/arm64/sluice
//	skopeo copy --all oci:bin/images/sluice:v1.2.3 docker://registry.example/sluice:v1.2.3
//
// The same programs make the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oci:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("oci", flag.ContinueOnError)
	var i image
	out := flags.String("out", "", "folder to write, which must not be there")
	flags.StringVar(&i.tag, "tag", "latest", "tag of the image in the layout")
	flags.StringVar(&i.source, "source", "https://github.com/sluice-mesh/sluice", "where the code is")
	flags.StringVar(&i.authorities, "authorities", "", "file with the certificates that programs trust when nothing else is said")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || flags.NArg() == 0 {
		return errors.New("usage: oci -out FOLDER [-tag TAG] OS/ARCHITECTURE=PROGRAM, once or more")
	}
	for _, arg := range flags.Args() {
		platform, path, ok := strings.Cut(arg, "=")
		system, architecture, two := strings.Cut(platform, "/")
		if !ok || !two {
			return fmt.Errorf("%q is not of the form OS/ARCHITECTURE=PROGRAM", arg)
		}
		i.programs = append(i.programs, program{system, architecture, path})
	}
	return i.write(*out)
}
