"""`alphadrop review`: the cut-outs that need a person, worst first."""
