"""The live screen: a view of a run on a terminal, by Textual, which is loaded only for it."""
