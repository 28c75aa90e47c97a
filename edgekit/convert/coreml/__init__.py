"""What the Core ML format is made of: `edgekit.convert.formats.coreml` puts it together.

conversion    a source's export to an ML Program, with the model's own names
compression   weights in fewer bits, calibrated activations, pruning
package       the `.mlpackage` on disk: the same bytes for the same model, and what it stores
"""
