"""The half of a view that changes values: colours, blur, operations, normalisation."""
