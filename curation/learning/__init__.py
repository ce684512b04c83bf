"""What a machine makes of what people decided: proposals, sheets to confirm, labels that spread.

Everything here knows arrays, vectors and a k-NN graph, by row of one atlas; `curation.assistant`
binds it to a workspace.
"""
