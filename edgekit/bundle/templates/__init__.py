"""Files that bundles copy as they are. They are not part of EdgeKit: they run where no EdgeKit is."""
