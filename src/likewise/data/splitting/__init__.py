"""Parts of a data set: splits, subsets, lists, few labels."""
