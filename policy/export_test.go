package policy

// Held counts all that an index keeps, so that a test sees what is never let go.
func (x *Index) Held() map[string]int {
	return map[string]int{
		"pods": len(x.pods), "namespaces": len(x.namespaces), "nodes": len(x.nodes), "policies": len(x.policies), "troubled": len(x.troubled),
		"locals": len(x.locals), "localsOf": len(x.localsOf), "scopes": len(x.scopes), "labelled": len(x.labelled.places),
		"selectors": len(x.selectors), "nodeSelectors": len(x.nodeSelectors), "classes": x.classes, "classesAt": len(x.classesAt.places),
		"localClasses": len(x.localClasses),
		"sets":         len(x.sets), "chains": len(x.chains), "bundles": len(x.bundles), "bindings": len(x.bindings),
		"staleClasses": len(x.staleClasses), "staleLocals": len(x.staleLocals), "dirtySets": len(x.dirtySets),
		"dirtyChains": len(x.dirtyChains), "bindingsThen": len(x.bindingsThen),
	}
}
