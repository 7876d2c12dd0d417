// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"embed"
	"html/template"
)

//go:embed pages/*.html
var files embed.FS

// pages holds one page a version, named after it, and the drawings that they
// share.
var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// page is what a page shows.
type page struct {
	Version, Instance string
	Goods             []good
}

// good is one thing that the shop sells.
type good struct {
	Name    string `json:"name"`
	Price   string `json:"price"`
	Drawing string `json:"-"` // name of its drawing in the pages
	Note    string `json:"note"`
}

var goods = []good{
	{"Brass valve", "34.00", "valve", "Opens by hundredths of a turn"},
	{"Copper kettle", "89.00", "kettle", "Sings at the boil"},
	{"Stone jug", "27.50", "jug", "Holds a litre and a half"},
	{"Rain gauge", "18.00", "gauge", "Reads to a tenth of a millimetre"},
	{"Oak bucket", "42.00", "bucket", "Six staves, two hoops"},
	{"Garden lantern", "56.00", "lantern", "Burns for nine hours"},
}
