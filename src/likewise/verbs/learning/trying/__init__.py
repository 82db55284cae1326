"""Parts of `likewise trial`: the measures of an encoder, and the verdict on several."""
