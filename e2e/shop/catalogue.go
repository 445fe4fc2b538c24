package shop

import (
	"fmt"
	"strings"
)

// Item is one thing the shop sells.
type Item struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Price *float64 `json:"price,omitempty"` // a pointer, so that a build can lose it
	Stock int      `json:"stock"`
	Tags  []string `json:"tags"`
	Text  string   `json:"text"`
}

// Items is how many there are; their ids start at 1.
const Items = 200

// catalogue returns the same items every time.
func catalogue() []Item {
	kinds := []string{"kettle", "lamp", "chair", "teapot", "rug", "mirror", "shelf", "clock"}
	colours := []string{"red", "green", "blue", "white", "black", "ochre", "grey"}
	makers := []string{"Ada", "Bo", "Chen", "Dana", "Eko"}
	items := make([]Item, Items)
	for i := range items {
		kind, colour, maker := kinds[i%len(kinds)], colours[i/3%len(colours)], makers[i/7%len(makers)]
		price := float64(500+i*37%9500) / 100
		items[i] = Item{
			ID:    i + 1,
			Name:  fmt.Sprintf("%s %s by %s", colour, kind, maker),
			Price: &price,
			Stock: i * 13 % 50,
			Tags:  []string{kind, colour},
			Text:  strings.Repeat(fmt.Sprintf("A %s %s, made by %s. ", colour, kind, maker), 3+i%12),
		}
	}
	return items
}

// Words returns what one can search for and find something.
func Words() []string { return []string{"kettle", "lamp", "rug", "red", "blue", "Chen", "Dana"} }
