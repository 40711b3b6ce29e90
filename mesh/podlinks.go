package mesh

import (
	"slices"
	"strings"
)

// NamesLink says whether one of these names is a link's, or begins it where it ends in "*".
func NamesLink(names []string, link string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		beginning, wildcard := strings.CutSuffix(name, "*")
		return name == link || wildcard && strings.HasPrefix(link, beginning)
	})
}
