"""EdgeKit takes a trained model to real devices, proves it, measures it there and keeps it healthy.

The nouns, in the order in which a model meets them:

    Model ──convert──▶ Artifact ──deploy──▶ Device ──bench──▶ Run

Each lives in a module of its name: `edgekit.model`, `edgekit.recipe`, `edgekit.artifact`, `edgekit.devices`,
`edgekit.bench`. Importing `edgekit` imports none of them, and no heavy package: `edgekit --help` stays fast.
"""

__version__ = "0.1.0"
