// Package cyclonus holds policy.World against the matcher of cyclonus, which others wrote from the same specification. It is a module of
// its own, so that the product does not depend on cyclonus.
package cyclonus
